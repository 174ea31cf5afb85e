"""Tripos' mol2 files: every molecule, none cut short, and elements by the types of atoms.

The types are those of SYBYL, such as C.ar and O.co2, or of GAFF, such as ca, which is carbon, and
hc: these begin with a small letter.
"""

import re
from collections.abc import Iterator

from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.structures.atom_names import DEUTERIUM, is_symbol, named_halogen
from tdncalc.structures.symmetry import require_no_symmetry
from tdncalc.wording import counted

__all__ = ["read_mol2"]

_SECTION = "@<TRIPOS>"
_NAMELESS = re.compile(r"\**")
_OF_GAFF = frozenset("CFHINOPS")


def read_mol2(text: str) -> list[Atoms]:
    """Read every molecule.

    Charges of atoms become their initial charges: the partial ones, or where a file has none the
    formal ones of Open Babel's UNITY records.

    Raises
    ------
    StructureError
        A molecule is cut short or in a cell with symmetry, or the type of an atom tells no element.
    ValueError, IndexError, KeyError
        A line is not as the format wants it.
    """
    return [_molecule(sections, number) for number, sections in enumerate(_molecules(text))]


def _molecules(text: str) -> Iterator[dict[str, list[str]]]:
    """Give the lines of each section of each molecule."""
    text = re.sub(r"\\\r?\n", " ", text.removeprefix("\ufeff"))
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_SECTION):
            name = line.removeprefix(_SECTION).strip()
            if name == "MOLECULE" and sections:
                yield sections
                sections = {}
            lines = sections.setdefault(name, [])
        elif not line.startswith("#"):
            lines.append(line)
    if "MOLECULE" not in sections:
        raise StructureError("has no section @<TRIPOS>MOLECULE; is it a mol2 file?")
    yield sections


def _molecule(sections: dict[str, list[str]], number: int) -> Atoms:
    name, counts, *kinds = sections["MOLECULE"]
    rows = _rows(sections, "ATOM")
    _check_whole(counts, len(rows), len(_rows(sections, "BOND")), number)
    symbols = [_symbol(row) for row in rows]
    positions = [[float(x) for x in row[2:5]] for row in rows]
    atoms = Atoms(["H" if s == "D" else s for s in symbols], positions=positions)
    if "D" in symbols:
        masses = zip(symbols, atoms.get_masses(), strict=True)
        atoms.set_masses([DEUTERIUM if symbol == "D" else mass for symbol, mass in masses])
    charges = [float(row[8]) if len(row) > 8 else 0.0 for row in rows]
    if "NO_CHARGES" in "".join(kinds[1:2]) or not any(charges):
        charges = _formal_charges(sections, len(rows))
    if any(charges):
        atoms.set_initial_charges(charges)
    _set_cell(atoms, sections)
    if not _NAMELESS.fullmatch(name.strip()):
        atoms.info["name"] = name.strip()
    return atoms


def _rows(sections: dict[str, list[str]], name: str) -> list[list[str]]:
    return [line.split() for line in sections.get(name, []) if line.strip()]


def _check_whole(counts: str, n_atoms: int, n_bonds: int, number: int) -> None:
    """Make sure that a molecule has as many atoms and bonds as it says; bonds come last."""
    expected = [int(word) for word in counts.split()[:2]]
    for noun, found, count in zip(("atom", "bond"), (n_atoms, n_bonds), expected, strict=False):
        if found != count:
            raise StructureError(
                f"is truncated: molecule {number} has {found} of its {counted(count, noun)}"
            )


def _symbol(row: list[str]) -> str:
    """Return the element of an atom: of C.ar what stands before the point."""
    kind = row[5]
    base = kind.partition(".")[0]
    if base == "D" or is_symbol(base):
        return base
    if halogen := named_halogen(base):
        return halogen
    if base[:1].islower() and base[0].upper() in _OF_GAFF:
        return base[0].upper()
    raise StructureError(
        f"has an atom {row[1]} of type {kind}, which tells no element; give it types of SYBYL, for "
        "instance by obabel or antechamber -at sybyl"
    )


def _formal_charges(sections: dict[str, list[str]], n_atoms: int) -> list[float]:
    """Return what stands in lines "charge -1" behind lines with the number of their atom."""
    charges = [0.0] * n_atoms
    atom = 0
    for words in _rows(sections, "UNITY_ATOM_ATTR"):
        if words[0].isdecimal():
            atom = int(words[0])
        elif words[0] == "charge":
            charges[atom - 1] = float(words[1])
    return charges


def _set_cell(atoms: Atoms, sections: dict[str, list[str]]) -> None:
    for row in _rows(sections, "CRYSIN")[:1]:
        require_no_symmetry("".join(row[6:7]), "@<TRIPOS>CRYSIN")
        atoms.set_cell([float(x) for x in row[:6]])
        atoms.pbc = True
