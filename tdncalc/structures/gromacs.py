"""Gromacs' gro files: every frame, none cut short, and elements by the names of atoms.

ASE reads one frame, takes any box line, and guesses nitrogen for the ion NA, carbon for CL and
tungsten for the virtual site MW.
"""

import io
import re
from collections.abc import Iterator

import ase.io
from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.structures.atom_names import is_symbol, named_halogen

__all__ = ["read_gro"]

_BOX = (0, 3, 9)  # numbers; without any there is no cell
_IONS = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs"}  # as CHARMM calls them

_NEVER_ORGANIC = ("Fe", "Se", "Si")


def read_gro(text: str) -> list[Atoms]:
    """Read every frame.

    Raises
    ------
    StructureError
        A frame is cut short, or the name of an atom tells no element.
    ValueError, IndexError
        A line is not as the format wants it.
    """
    return [_atoms(frame) for frame in _frames(text)]


def _frames(text: str) -> Iterator[list[str]]:
    """Give the lines of each frame: title, number of atoms, atoms, box."""
    lines = text.splitlines()
    if not text.endswith("\n") and _loses_digits(lines[-1]):
        raise StructureError("is truncated: its box line is not whole")
    while any(map(str.strip, lines)):
        count = int(lines[1].split()[0])
        frame, lines = lines[: count + 3], lines[count + 3 :]
        if len(frame) < count + 3:  # the last line is its box, blank if there is none
            raise StructureError(f"is truncated: its last frame lacks atoms of {count}, or its box")
        yield frame


def _loses_digits(line: str) -> bool:
    """Tell whether the last number of a line has fewer decimals than the first."""
    decimals = [len(word.partition(".")[2]) for word in line.split()]
    return bool(decimals) and decimals[-1] < decimals[0]


def _atoms(lines: list[str]) -> Atoms:
    rows, box = lines[2:-1], lines[-1].split()
    if len(box) not in _BOX:
        raise StructureError(f"has a box of {len(box)} numbers, which are 3 or 9; is truncated?")
    if len(rows[-1].rstrip()) < len(rows[0].rstrip()):
        raise StructureError("is truncated: the line of its last atom is not whole")
    symbols = [_symbol(row[10:15].strip(), row[5:10].strip()) for row in rows]
    text = io.StringIO("\n".join(lines) + "\n")
    (atoms,) = ase.io.iread(text, 0, format="gromacs")
    atoms.symbols = symbols
    return atoms


def _symbol(name: str, residue: str) -> str:
    """Take the element from the name of an atom; that of an ion is that of its residue."""
    letters = re.sub(r"[^A-Za-z]", "", name)
    is_ion = letters.upper() == re.sub(r"[^A-Za-z]", "", residue).upper()
    if is_ion and (ion := _IONS.get(letters.upper(), letters.capitalize())) and is_symbol(ion):
        return ion
    if halogen := named_halogen(letters):
        return halogen
    two = letters[:2].capitalize()
    if is_symbol(two) and (two == letters or not is_symbol(two[0])):
        return two  # written as a symbol, or MG, which begins with none
    if two in _NEVER_ORGANIC:
        return two
    if not is_symbol(two[:1]):
        raise StructureError(f"the name of an atom, '{name}' in {residue}, tells no element")
    return two[0]
