"""The parsers of ASE and pymatgen, with whatever they raise said in one line."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, ioformats, open_with_compression

from tdncalc.errors import StructureError
from tdncalc.patterns import is_pattern
from tdncalc.structures.ase_reading import bytes_of, read_by_ase, text_of
from tdncalc.structures.conversion import to_atoms
from tdncalc.structures.extxyz import frame_texts, parse_frame, whole_frame_texts
from tdncalc.structures.formats import READABLE, input_format
from tdncalc.structures.gromacs import read_gro
from tdncalc.structures.mdl import read_mdl
from tdncalc.structures.mol2 import read_mol2
from tdncalc.structures.pdb import read_pdb
from tdncalc.structures.symmetry import KINDS, check_symmetry

__all__ = ["read_frames", "read_text", "read_whole_frames"]

_HEAD = 100_000  # bytes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MMCIF = re.compile(rb"^_(?:entry|atom_site)\.", re.MULTILINE)
_READ_BY_PYMATGEN = ("cif", "res", "vasp", "pymatgen")
_NAMES_OF_PYMATGEN = ("*.cif", "*.mcif", "*.cssr", "*.res", "*.vasp", "*POSCAR*", "*CONTCAR*")
_TEXTS: dict[str, Callable[[str], list[Atoms]]] = {
    "sdf": read_mdl,
    "mol": read_mdl,
    "mol2": read_mol2,
    "gromacs": read_gro,
    "proteindatabank": read_pdb,
}
# Where LAMMPS tells elements, and how it is brought to.
_ELEMENTS = {
    "lammps-data": (rb"Masses|Type Labels", "give its atom types Masses or Atom Type Labels"),
    "lammps-dump-text": (rb"ITEM: ATOMS .*\b(element|mass)\b", "dump the column element, too"),
}
# What ASE and pymatgen warn of where they make something up or leave it out.
_GUESSES = {
    "false names": "names no elements; add a line of their symbols above their numbers of atoms",
    "Defaulting to P1": "its space group is not known; give the symmetry operations, or 'P 1' if "
    "every atom of the cell is listed",
    "implicit hydrogens": "has hydrogen atoms without positions; add them",
    "are equivalent": "two of its atoms are at one point; remove one of them",
}

_log = logging.getLogger(__name__)


def read_frames(path: Path, which: slice) -> Iterator[Atoms]:
    """Read some frames of a file, each when it is asked for.

    Raises
    ------
    StructureError
        The file is missing, empty, truncated, damaged, or in no known format.
    """
    head = _read_head(path)
    try:
        kind = input_format(path, head)
    except UnknownFileTypeError:
        kind = "pymatgen"
    if kind == "cube":
        _log.warning(
            "%s: its format does not tell what is periodic; taken for a crystal whose cell is that "
            "of its grid; give a molecule as .xyz",
            path,
        )
    try:
        yield from _quietly(_parse(path, which, kind, head))
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from error.__cause__
    except Exception as error:
        raise StructureError(f"{path}: {_cause(error, kind, head)}") from error


def read_text(stream: TextIO | None, label: str) -> Iterator[Atoms]:
    """Read every frame of an extxyz stream.

    Raises
    ------
    StructureError
        There is no stream, or it is empty, truncated or not extxyz.
    """
    try:
        text = stream.read() if stream is not None else ""
        text = text.removeprefix("\ufeff")
        if not text.strip():
            raise StructureError("is empty; send structures as extxyz")
        yield from _quietly(map(parse_frame, frame_texts(io.StringIO(text))))
    except StructureError as error:
        raise StructureError(f"{label}: {error}") from error.__cause__
    except Exception as error:
        raise StructureError(f"{label}: {_cause(error, 'extxyz', b'')}") from error


def read_whole_frames(path: Path) -> tuple[list[Atoms], bool]:
    """Read the frames of an extxyz file that are whole, and tell whether it was cut off in another.

    Raises
    ------
    StructureError
        It is no extxyz, or was damaged in another way.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        whole, is_cut = whole_frame_texts(io.StringIO(text))
    except (OSError, ValueError) as error:
        raise StructureError(f"{path}: {_cause(error, 'extxyz', b'')}") from error
    return list(read_text(io.StringIO("".join(whole)), str(path))) if whole else [], is_cut


def _read_head(path: Path) -> bytes:
    if not path.exists():
        told = "matches no file" if is_pattern(str(path)) else "there is no such file or folder"
        raise StructureError(f"{path}: {told}")
    if not path.is_file():  # it is opened more than once
        raise StructureError(f"{path}: is not a file; pipe extxyz to '-' instead")
    try:
        with open_with_compression(str(path), "rb") as file:
            head: bytes = file.read(_HEAD)
    except Exception as error:
        raise StructureError(f"{path}: cannot be read ({_one_line(error)})") from error
    if not head.strip():
        raise StructureError(f"{path}: is empty")
    return head


def _parse(path: Path, which: slice, kind: str, head: bytes) -> Iterator[Atoms]:
    """Give frames; a generator, so that `_quietly` hears all that the parsers warn of."""
    told = "cssr" if path.match("*.cssr") else kind
    if told in KINDS:
        check_symmetry(bytes_of(path).decode(errors="replace"), told)
    if kind == "json":
        yield from _read_json(path)[which]
    elif kind in _TEXTS:
        yield from _TEXTS[kind](text_of(path))[which]
    elif kind in _ELEMENTS and not re.search(_ELEMENTS[kind][0], head):
        raise StructureError(f"names no elements; {_ELEMENTS[kind][1]}")
    elif kind == "cif" and _MMCIF.search(head):
        raise StructureError("is mmCIF, the format of macromolecules, which is not read; give PDB")
    elif kind in _READ_BY_PYMATGEN and any(path.match(name) for name in _NAMES_OF_PYMATGEN):
        yield from _read_by_either(path, kind)[which]
    else:
        yield from read_by_ase(path, kind, which)


def _read_by_either(path: Path, kind: str) -> list[Atoms]:
    try:
        return list(read_by_ase(path, kind, slice(None)))
    except StructureError:
        raise
    except Exception:
        atoms = _read_by_pymatgen(path)
        if atoms is None:
            raise  # what ASE says: it is the clearer
        return [atoms]


def _read_by_pymatgen(path: Path) -> Atoms | None:
    from pymatgen.core.structure import Structure

    try:
        structure = Structure.from_file(path)
    except Exception:  # noqa: BLE001 - a parser may raise anything
        _log.debug("pymatgen cannot read %s", path, exc_info=True)
        return None
    return to_atoms(structure)


def _read_json(path: Path) -> list[Atoms]:
    content = json.loads(text_of(path))
    documents = content if isinstance(content, list) else [content]
    if all(isinstance(document, dict) and "sites" in document for document in documents):
        return [_from_pymatgen(document) for document in documents]
    if isinstance(content, dict) and "ids" in content:
        return list(ase.io.iread(str(path), ":", format="json", do_not_split_by_at_sign=True))
    raise StructureError("is JSON but no structure of ASE or pymatgen")


def _from_pymatgen(document: dict[str, Any]) -> Atoms:
    from pymatgen.core.structure import Molecule, Structure

    return to_atoms((Structure if "lattice" in document else Molecule).from_dict(document))


def _quietly(frames: Iterator[Atoms]) -> Iterator[Atoms]:
    """Pass frames on, and what the parsers warn of to the log, unless they make something up."""
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            atoms = next(frames, None)
        for text in (str(warning.message) for warning in caught):
            _log.debug("%s", text)
            for guess, message in _GUESSES.items():
                if guess in text:
                    raise StructureError(message)
        if atoms is None:
            return
        yield atoms


def _cause(error: Exception, kind: str, head: bytes) -> str:
    if isinstance(error, UnknownFileTypeError):
        return f"format not recognized; give {READABLE}"
    if head.startswith(_BYTE_ORDER_MARK):
        return f"cannot be read as {kind}: it begins with a byte order mark; save it without"
    if isinstance(error, UnicodeDecodeError) and head and b"\0" not in head:
        return "is not text in UTF-8; convert it, for instance by iconv -f latin1 -t utf-8"
    is_text = kind in _TEXTS or ioformats[kind].code[1] == "F"
    if isinstance(error, UnicodeDecodeError) or (b"\0" in head and is_text):
        return f"holds binary data and cannot be read as {kind}"
    if kind == "cif" and isinstance(error, TypeError) and "'matmul'" in str(error):
        return "has atoms without coordinates (?); give theirs, or remove these atoms"
    if isinstance(error, KeyError) and re.fullmatch(r"'(?=\w)[A-Za-z]{0,3}\d{0,4}'", str(error)):
        return f"cannot be read as {kind}: there is no element {error}; give a symbol alone"
    return f"cannot be read as {kind}, is perhaps truncated or damaged ({_one_line(error)})"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:150]}" if text else type(error).__name__
