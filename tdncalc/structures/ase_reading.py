"""Files by ASE's readers: what these leave out or make up of a format is mended or refused."""

import contextlib
import itertools
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, ioformats, open_with_compression

from tdncalc.errors import StructureError
from tdncalc.structures.extxyz import frame_texts, parse_frame
from tdncalc.structures.formats import COMPRESSED
from tdncalc.structures.truncation import FORMATS_CUT_SHORT, check_whole

__all__ = ["bytes_of", "read_by_ase", "text_of"]

_PERIODIC = ("eon", "sys")  # of codes for crystals; ASE's readers leave pbc out
_OPTIONS: dict[str, dict[str, Any]] = {
    "gaussian-in": {"attach_calculator": True},
    "cif": {"store_tags": True},
}
_LAMMPS_UNITS = re.compile(r".*, units = (\w+)")


def read_by_ase(path: Path, kind: str, which: slice) -> Iterator[Atoms]:
    """Read some frames of a file whose format ASE calls `kind`.

    Raises
    ------
    StructureError
        It does not tell all of a structure; names no file.
    Exception
        Whatever a reader raises; UnknownFileTypeError if there is none.
    """
    if kind == "pymatgen":
        raise UnknownFileTypeError
    with _unpacked(path, kind) as plain:
        for atoms in _iread(plain, kind, which):
            if kind == "cif":
                _require_cell(atoms)
                _require_order(atoms)
                _require_no_alternatives(atoms)
            if kind == "gaussian-in":
                _keep_charge(atoms)
            if kind in _PERIODIC:
                atoms.pbc = True
            if kind in FORMATS_CUT_SHORT:
                check_whole(text_of(path), kind, atoms)
            yield atoms


def _iread(path: Path, kind: str, which: slice) -> Iterator[Atoms]:
    if kind == "extxyz":
        return _iread_extxyz(path, which)
    known, step = which, None
    if ioformats[kind].single:
        known = slice(None)
    elif kind == "db":  # knows no steps
        known, step = slice(which.start, which.stop), which.step
    options = _units(path) if kind == "lammps-data" else _OPTIONS.get(kind, {})
    frames = ase.io.iread(str(path), known, format=kind, do_not_split_by_at_sign=True, **options)
    if ioformats[kind].single:
        return iter(list(frames)[which])
    return itertools.islice(frames, None, None, step)


def _iread_extxyz(path: Path, which: slice) -> Iterator[Atoms]:
    count = sys.maxsize
    if min(which.start or 0, which.stop or 0) < 0:
        with open_with_compression(str(path), "rt") as file:
            count = sum(1 for _ in frame_texts(file))
    with open_with_compression(str(path), "rt") as file:
        yield from map(parse_frame, itertools.islice(frame_texts(file), *which.indices(count)))


def _units(path: Path) -> dict[str, Any]:
    """Return the units of LAMMPS data that its first line tells; ASE takes them for metal."""
    with open_with_compression(str(path), "rt") as file:
        told = _LAMMPS_UNITS.match(file.readline())
    if told and told[1] == "lj":
        raise StructureError("is in units lj, which have no length; give it in metal or real")
    return {"units": told[1]} if told else {}


@contextlib.contextmanager
def _unpacked(path: Path, kind: str) -> Iterator[Path]:
    """Give a file that a parser can open which takes no stream."""
    if ioformats[kind].acceptsfd or path.suffix.lower() not in COMPRESSED:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with open_with_compression(str(path), "rb") as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
        yield plain


def _keep_charge(atoms: Atoms) -> None:
    """Note the charge of a molecule where messages look for it; ASE gives it to a calculator."""
    if charge := atoms.calc.parameters.get("charge"):
        atoms.info["charge"] = charge
    atoms.calc = None


def _require_cell(atoms: Atoms) -> None:
    # ASE then takes the fractional coordinates for positions in Å.
    if atoms.cell.rank < 3:
        raise StructureError("its cell is incomplete; give all lengths and angles")


def _require_order(atoms: Atoms) -> None:
    # ASE keeps the most probable element of a site and notes the others.
    for occupancy in atoms.info.get("occupancy", {}).values():
        if max(occupancy.values()) < 0.999:
            raise StructureError("has partially occupied sites; order it first")


def _require_no_alternatives(atoms: Atoms) -> None:
    """Refuse atoms of which only some are there at a time, whether occupancies tell it or not."""
    tags = {name: atoms.info.pop(name) for name in list(atoms.info) if name.startswith("_")}
    groups = [str(group) for group in _column(tags, "_atom_site_disorder_group")]
    assemblies = _column(tags, "_atom_site_disorder_assembly") or ["."] * len(groups)
    told = {pair for pair in zip(assemblies, groups, strict=True) if pair[1] not in ".?"}
    symmetric = any(group.startswith("-") for _assembly, group in told)
    if symmetric or len(told) > len({assembly for assembly, _group in told}):
        raise StructureError(
            f"has disordered atoms (groups {', '.join(sorted({g for _a, g in told}))}); give "
            "one of their arrangements"
        )


def _column(tags: dict[str, Any], name: str) -> list[Any]:
    value = tags.get(name, [])
    return value if isinstance(value, list) else [value]


def bytes_of(path: Path) -> bytes:
    """Return what a file, perhaps a compressed one, holds."""
    with open_with_compression(str(path), "rb") as file:
        content: bytes = file.read()
    return content


def text_of(path: Path) -> str:
    """Return the text of a file, perhaps of a compressed one."""
    with open_with_compression(str(path), "rt") as file:
        text: str = file.read()
    return text
