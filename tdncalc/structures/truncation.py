"""Files cut short that parsers take as they are."""

import re

from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.wording import counted

__all__ = ["FORMATS_CUT_SHORT", "check_whole"]

FORMATS_CUT_SHORT = ("gen", "res", "vasp")
_COORDINATES = re.compile(r"^\s*[dDcCkK]")


def check_whole(text: str, kind: str, atoms: Atoms) -> None:
    """Make sure that a file of the format `kind` (as ASE calls it) holds all of its atoms.

    Raises
    ------
    StructureError
        Atoms, or coordinates of the last, are missing.
    """
    lines = text.splitlines()
    if kind == "gen" and len(atoms) != int(lines[0].split()[0]):
        count = lines[0].split()[0]
        raise StructureError(
            f"is truncated: it has {len(atoms)} of its {counted(int(count), 'atom')}"
        )
    if kind == "res" and not re.search(r"^END\b", text, re.MULTILINE | re.IGNORECASE):
        raise StructureError("is truncated: it does not close with END")
    if kind == "vasp" and not _has_rows(lines, len(atoms)):
        raise StructureError("is truncated: its last atom has fewer than three coordinates")


def _has_rows(lines: list[str], count: int) -> bool:
    """Tell whether each row of a POSCAR has three numbers: of one ASE makes three."""
    start = next(i for i, line in enumerate(lines) if i > 5 and _COORDINATES.match(line)) + 1
    return all(len(line.split()) >= 3 for line in lines[start : start + count])
