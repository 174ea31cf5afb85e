"""Which file is of which format, and which files of a folder are structures."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from ase.io.formats import UnknownFileTypeError, filetype, ioformats

from tdncalc.errors import OutputError
from tdncalc.structures.viewers import VIEWER_FORMATS

__all__ = [
    "COMPRESSED",
    "READABLE",
    "WRITABLE",
    "input_format",
    "is_structure_file",
    "output_format",
    "stem",
]

READABLE = "xyz, extxyz, cif, POSCAR, pdb, sdf, mol, mol2, json, traj, db or LAMMPS data"
WRITABLE = ".extxyz, .xyz, .traj, .cif, .vasp, .pdb, .sdf, .mol, .json, .gen, .xsf, .dcd or .xtc"

COMPRESSED = (".gz", ".bz2", ".xz")
_VASP_NAMES = ("*POSCAR*", "*CONTCAR*")
_LAMMPS = (".lmp", ".lammps", ".lammps-data")
_OUTPUT = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".traj": "traj",
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".pdb": "proteindatabank",
    ".sdf": "sdf",
    ".mol": "mol",
    ".json": "json",
    ".gen": "gen",
    ".xsf": "xsf",
}
_NAMED = {".mol2": "mol2", ".ent": "proteindatabank"}  # which ASE does not know by their ending
_INPUT = (
    *_OUTPUT,
    *_LAMMPS,
    ".data",
    ".db",
    *_NAMED,
    ".gro",
    ".xsd",
    ".mcif",
    ".cssr",
    ".res",
    ".shelx",
)
# What the workflows write beside structures is JSON as well.
_STRUCTURE_JSON = re.compile(rb'"(sites|numbers)"\s*:')


def stem(path: Path) -> str:
    """Return the name of a file without the endings of format and compression."""
    name = path.name
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    suffix = Path(name).suffix
    known = suffix.lower() in _INPUT or not _is_vasp(name)
    return name.removesuffix(suffix) if known else name


def input_format(path: Path, head: bytes) -> str:
    """Return what ASE calls the format of a file, or ``mol2``, which it does not know.

    Parameters
    ----------
    path
        The file.
    head
        The first bytes of what it holds.

    Raises
    ------
    UnknownFileTypeError
        Neither its name nor its contents tell.
    """
    suffix = _suffix(path)
    if suffix in _LAMMPS or (suffix == ".data" and re.search(rb"^\s*\d+\s+atoms\b", head, re.M)):
        return "lammps-data"
    if suffix in _NAMED:
        return _NAMED[suffix]
    if suffix in _OUTPUT and any(known.match_name(path.name) for known in ioformats.values()):
        return _OUTPUT[suffix]  # of POSCAR-relaxed.extxyz ASE would see the POSCAR
    kind: str = filetype(str(path))
    if kind not in ioformats or not ioformats[kind].can_read:
        raise UnknownFileTypeError(kind)
    return kind


def output_format(path: Path) -> str:
    """Return what ASE calls the format that the name of a file asks for.

    Raises
    ------
    OutputError
        The name asks for none that can be written.
    """
    suffix = _suffix(path)
    if path.suffix.lower() in VIEWER_FORMATS:
        return VIEWER_FORMATS[suffix]
    if suffix in _OUTPUT:
        return _OUTPUT[suffix]
    if _is_vasp(path.name):
        return "vasp"
    raise OutputError(f"{path}: no known format; use {WRITABLE}, or POSCAR")


def is_structure_file(path: Path) -> bool:
    """Tell whether a file of a folder is a structure, by its name; JSON also by what it holds."""
    if path.name.startswith(".") or not path.is_file():
        return False
    suffix = _suffix(path)
    if suffix == ".json":
        return _STRUCTURE_JSON.search(path.read_bytes()) is not None
    return suffix in _INPUT or _is_vasp(path.name)


def _suffix(path: Path) -> str:
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _is_vasp(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _VASP_NAMES)
