"""MDL mol and SD files, V2000 and V3000: every molecule of the file, and none cut short.

ASE reads the first V2000 molecule only, and takes what there is of a truncated one.
"""

import re

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from tdncalc.errors import StructureError
from tdncalc.structures.atom_names import DEUTERIUM
from tdncalc.wording import counted

__all__ = ["read_mdl"]

_CHARGE_CODES = {"1": 3, "2": 2, "3": 1, "5": -1, "6": -2, "7": -3}
_MASS_DIFFERENCES = {str(difference): difference for difference in range(-3, 5) if difference}
_ISOTOPES = {"D": ("H", 2), "T": ("H", 3)}
# amu; that of other isotopes is their mass number, to 0.1.
_ISOTOPE_MASSES: dict[tuple[str, float], float] = {
    ("H", 1): 1.008,
    ("H", 2): DEUTERIUM,
    ("H", 3): 3.016,
}
_MOST_FLAT = 3  # atoms that lie in a plane anyway
_HEAVIEST = 350  # no isotope has as many nucleons


def read_mdl(text: str) -> list[Atoms]:
    """Parse every record.

    Raises
    ------
    StructureError
        A record ends before its last atom or before its "M  END", or is a drawing in a plane.
    ValueError, IndexError, KeyError
        A line or an element is not as the format wants it.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    records = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
    if len(records) > 1 and not records[-1].strip():
        records.pop()
    return [_molecule(record.split("\n"), number) for number, record in enumerate(records)]


def _molecule(lines: list[str], number: int) -> Atoms:
    if not any(line.startswith("M  END") for line in lines):
        raise StructureError(f"is truncated: molecule {number} has no 'M  END'")
    counts = lines[3]
    rows, n_atoms = _rows_v3000(lines) if "V3000" in counts else _rows_v2000(lines)
    if len(rows) != n_atoms:
        raise StructureError(
            f"is truncated: molecule {number} has {len(rows)} of its {counted(n_atoms, 'atom')}"
        )
    for row in rows:
        if row[0] in _ISOTOPES:
            row[0], isotope = _ISOTOPES[row[0]]
            row.append(f"MASS={isotope}")
    positions = [[float(x) for x in row[1:4]] for row in rows]
    if lines[1][20:22] == "2D" and n_atoms > _MOST_FLAT and not any(x[2] for x in positions):
        raise StructureError(
            f"molecule {number} is a drawing (2D) and no structure; make coordinates of all its "
            "atoms first, for instance with RDKit's EmbedMolecule or obabel --gen3d"
        )
    atoms = Atoms([row[0] for row in rows], positions=positions)
    charges = _stated(lines, rows, "CHG=", "M  CHG")
    if any(charges):
        atoms.set_initial_charges(charges)
    isotopes = _stated(lines, rows, "MASS=", "M  ISO")
    if any(isotopes):
        _set_masses(atoms, isotopes)
    if title := lines[0].strip():
        atoms.info["name"] = title
    return atoms


def _stated(lines: list[str], rows: list[list[str]], word: str, line: str) -> list[float]:
    """Return the number that a word or line states for each atom, or 0.

    Words like CHG= are those of V3000, and what `_rows_v2000` makes of the codes of atoms; lines
    like "M  CHG" are those of V2000.
    """
    numbers = [
        next((float(w.removeprefix(word)) for w in row[4:] if w.startswith(word)), 0.0)
        for row in rows
    ]
    for text in lines:
        if text.startswith(line):
            pairs = [int(w) for w in text.split()[3:]]
            for atom, number in zip(pairs[::2], pairs[1::2], strict=True):
                numbers[atom - 1] = number
    return numbers


def _set_masses(atoms: Atoms, isotopes: list[float]) -> None:
    """Set masses by mass number (or mass in amu, which V3000 allows); 0 stands for the natural."""
    if not all(0 <= isotope < _HEAVIEST for isotope in isotopes):
        raise ValueError(f"a mass number is not between 1 and {_HEAVIEST}")
    natural = zip(atoms.symbols, isotopes, atoms.get_masses(), strict=True)
    atoms.set_masses([_ISOTOPE_MASSES.get((s, i), i) if i else mass for s, i, mass in natural])


def _rows_v2000(lines: list[str]) -> tuple[list[list[str]], int]:
    """Return the rows as V3000 has them; codes of atoms count if no line states the same."""
    n_atoms = int(lines[3][:3])
    atoms = lines[4 : 4 + n_atoms]
    # Columns, for the numbers may touch.
    rows = [[s[31:34].strip(), s[:10], s[10:20], s[20:30]] for s in atoms if len(s) > 31]
    has_charges = any(line.startswith(("M  CHG", "M  RAD")) for line in lines)
    has_isotopes = any(line.startswith("M  ISO") for line in lines)
    for row, line in zip(rows, atoms, strict=False):
        charge = _CHARGE_CODES.get(line[36:39].strip())
        if charge and not has_charges:
            row.append(f"CHG={charge}")
        difference = _MASS_DIFFERENCES.get(line[34:36].strip())
        if difference and not has_isotopes and row[0] in atomic_numbers:
            natural = round(atomic_masses[atomic_numbers[row[0]]])
            row.append(f"MASS={natural + difference}")
    return rows, n_atoms


def _rows_v3000(lines: list[str]) -> tuple[list[list[str]], int]:
    # A line that ends with a hyphen goes on in the next.
    lines = re.sub(r"-\n *M  V30 ", "", "\n".join(lines)).split("\n")
    body = [line.removeprefix("M  V30 ").split() for line in lines if line.startswith("M  V30 ")]
    n_atoms = next(int(words[1]) for words in body if words[0] == "COUNTS")
    begin, end = body.index(["BEGIN", "ATOM"]), body.index(["END", "ATOM"])
    return [words[1:] for words in body[begin + 1 : end]], n_atoms
