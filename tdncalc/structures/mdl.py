"""MDL mol and SD files, V2000 and V3000: every molecule of the file, and none cut short.

ASE reads the first V2000 molecule only, and takes what there is of a truncated one.
"""

import re

from ase import Atoms

from tdncalc.errors import StructureError

__all__ = ["read_mdl"]

_CHARGE_CODES = {"1": 3, "2": 2, "3": 1, "5": -1, "6": -2, "7": -3}
_ISOTOPES = {"D": "H", "T": "H"}


def read_mdl(text: str) -> list[Atoms]:
    """Parse every record.

    Raises
    ------
    StructureError
        A record ends before its last atom or before its "M  END".
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
            f"is truncated: molecule {number} has {len(rows)} of its {n_atoms} atoms"
        )
    symbols = [_ISOTOPES.get(row[0], row[0]) for row in rows]
    atoms = Atoms(symbols, positions=[[float(x) for x in row[1:4]] for row in rows])
    charges = _charges(lines, rows)
    if any(charges):
        atoms.set_initial_charges(charges)
    if title := lines[0].strip():
        atoms.info["name"] = title
    return atoms


def _charges(lines: list[str], rows: list[list[str]]) -> list[int]:
    """Return the formal charge of each atom.

    By CHG= (V3000), "M  CHG" lines (V2000) or, without these and "M  RAD", the codes of the atoms.
    """
    charges = [
        next((int(word[4:]) for word in row[4:] if word.startswith("CHG=")), 0) for row in rows
    ]
    for line in lines:
        if line.startswith("M  CHG"):
            words = [int(word) for word in line.split()[3:]]
            for atom, charge in zip(words[::2], words[1::2], strict=True):
                charges[atom - 1] = charge
    return charges


def _rows_v2000(lines: list[str]) -> tuple[list[list[str]], int]:
    n_atoms = int(lines[3][:3])
    atoms = lines[4 : 4 + n_atoms]
    # Columns, for the numbers may touch.
    rows = [[s[31:34].strip(), s[:10], s[10:20], s[20:30]] for s in atoms if len(s) > 31]
    if not any(line.startswith(("M  CHG", "M  RAD")) for line in lines):
        for row, line in zip(rows, atoms, strict=False):
            if charge := _CHARGE_CODES.get(line[36:39].strip()):
                row.append(f"CHG={charge}")
    return rows, n_atoms


def _rows_v3000(lines: list[str]) -> tuple[list[list[str]], int]:
    body = [line.removeprefix("M  V30 ").split() for line in lines if line.startswith("M  V30 ")]
    n_atoms = next(int(words[1]) for words in body if words[0] == "COUNTS")
    begin, end = body.index(["BEGIN", "ATOM"]), body.index(["END", "ATOM"])
    return [words[1:] for words in body[begin + 1 : end]], n_atoms
