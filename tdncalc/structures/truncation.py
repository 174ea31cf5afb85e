"""Files cut short that parsers take as they are."""

import re

from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.wording import counted

__all__ = ["FORMATS_CUT_SHORT", "check_whole"]

FORMATS_CUT_SHORT = ("gen", "res", "vasp")


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
    counts = 5 if lines[5].split()[0].isdigit() else 6  # elements need not be named
    kind = counts + 1 + lines[counts + 1].strip().lower().startswith("s")  # selective dynamics
    return all(len(line.split()) >= 3 for line in lines[kind + 1 : kind + 1 + count])
