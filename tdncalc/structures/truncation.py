"""Files cut short: those that parsers take as they are, and what is whole of those they refuse."""

import re

from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.wording import counted

__all__ = ["FORMATS_CUT_SHORT", "check_whole", "whole_frames"]

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


def whole_frames(text: str) -> str:
    """Return an extxyz text without what is behind its last whole frame.

    A frame is whole with all of its lines, each with its end.

    Raises
    ------
    ValueError
        A frame does not begin with a number of atoms: the text is no extxyz, or damaged elsewhere.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    end = 0
    while end < len(lines):
        following = end + 2 + int(lines[end]) if lines[end].strip() else end + 1
        if following > len(lines):
            break
        end = following
    return "".join(lines[:end])
