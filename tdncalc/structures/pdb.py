"""PDB files: each model of the file in its cell, with the elements that the file tells.

ASE's reader gives only the first model the cell, finds one without atoms between ENDMDL and END,
takes the carbon CA for calcium where no element is stated, and passes over models cut short and
alternate locations.
"""

import io
import re
from collections.abc import Iterator

import ase.io
import numpy as np
from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.structures.atom_names import DEUTERIUM, is_symbol, named_halogen
from tdncalc.structures.symmetry import require_no_symmetry

__all__ = ["read_pdb"]

_CUT = re.compile(r"^MODEL\b(?!.*^END)", re.MULTILINE | re.DOTALL)
_CHARGE = re.compile(r"(\d?)([+-])")
_ATOM = ("ATOM", "HETATM")
_FRAME = ("CRYST1", "ORIGX")  # stand once, before the first model, or in each
_COORDINATES = 54  # columns
_GROUP = slice(55, 66)  # columns of CRYST1


def read_pdb(text: str) -> list[Atoms]:
    """Read every model.

    Raises
    ------
    StructureError
        A model or line is cut short, an atom has several locations or no element, or the cell has
        symmetry; the message names neither file nor model.
    ValueError, IndexError
        A line is not as the format wants it.
    """
    if _CUT.search(text):
        raise StructureError("is truncated: its last model does not end")
    return [_model(lines) for lines in _models(text)] or [Atoms()]


def _models(text: str) -> Iterator[list[str]]:
    """Give the lines of each model that has atoms, behind the last cell before its end."""
    frame: dict[str, str] = {}
    atoms: list[str] = []
    for line in [*text.splitlines(), "END"]:
        if line.startswith(_FRAME):
            frame[line[:6]] = line
        elif line.startswith(_ATOM):
            atoms.append(line)
        elif line.startswith("END") and atoms:
            yield [*frame.values(), *atoms]
            atoms = []


def _model(lines: list[str]) -> Atoms:
    rows = [line for line in lines if line.startswith(_ATOM)]
    _check_locations(rows)
    symbols = [_symbol(row) for row in rows]
    known = ["H" if symbol == "D" else symbol for symbol in symbols]
    stated = [f"{row[:76]:<76}{symbol:>2}" for row, symbol in zip(rows, known, strict=True)]
    head = lines[: len(lines) - len(rows)]
    text = io.StringIO("\n".join([*head, *stated, "END\n"]))
    (atoms,) = ase.io.iread(text, 0, format="proteindatabank")
    if "D" in symbols:
        masses = zip(symbols, atoms.get_masses(), strict=True)
        atoms.set_masses([DEUTERIUM if symbol == "D" else mass for symbol, mass in masses])
    charges = [_charge(row) for row in rows]
    if any(charges):
        atoms.set_initial_charges(charges)
    # The format wants a cell of 1 Å from structures that have none; VMD gives one of 0.
    if np.array_equal(atoms.cell.array, np.eye(3)) or not atoms.cell.array.any():
        atoms.cell, atoms.pbc = None, False
    for line in head:
        if atoms.pbc.any() and line.startswith("CRYST1"):
            require_no_symmetry(line[_GROUP], "CRYST1")
    return atoms


def _symbol(line: str) -> str:
    """Return the element of an atom: the one stated, else that of its name."""
    if len(line) < _COORDINATES:
        raise StructureError(f"is truncated: '{line.strip()}' is no whole line of an atom")
    stated, name = line[76:78].strip().capitalize(), line[12:16]
    symbol = stated if stated == "D" or is_symbol(stated) else _symbol_of_name(name)
    if symbol != "D" and not is_symbol(symbol):
        raise StructureError(
            f"has an atom '{name.strip()}' whose element is not told; give it in columns 77 and 78"
        )
    return symbol


def _charge(line: str) -> int:
    """Return the formal charge in columns 79 and 80, such as 2+; 0 where there is none."""
    told = _CHARGE.fullmatch(line[78:80].strip())
    return int(told[2] + (told[1] or "1")) if told else 0


def _symbol_of_name(name: str) -> str:
    """Take the element from a name of four columns: its symbol ends in the second of them."""
    bare = name.lstrip(" 0123456789")
    if halogen := named_halogen(bare):
        return halogen
    long_hydrogen = bare.startswith("H") and " " not in name  # HG11
    two = name[:2].capitalize()
    return two if name[0].isalpha() and is_symbol(two) and not long_hydrogen else bare[:1]


def _check_locations(lines: list[str]) -> None:
    """Refuse a model in which an atom has several."""
    locations: dict[tuple[str, str, str], str] = {}
    for line in lines:
        # Not the residue's name: its alternates may have several.
        name, chain, residue = line[12:16].strip(), line[21:22], line[22:27].strip()
        location = line[16:17].strip()
        if locations.setdefault((name, chain, residue), location) != location:
            raise StructureError(
                f"has alternate locations of an atom ({name} of residue {line[17:20].strip()} "
                f"{residue}); keep one of them"
            )
