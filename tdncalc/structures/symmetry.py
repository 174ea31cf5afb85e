"""Cells with symmetry in formats whose parsers pass over it.

Of such a file they give the atoms that it lists, which may be a part of those in the cell.
"""

import re

from tdncalc.errors import StructureError

__all__ = ["KINDS", "check_symmetry", "require_no_symmetry"]

_NONE = ("", "0", "1", "P1")  # in International Tables; 0 where it is not told
_SHELX = re.compile(r"^(?:SYMM|LATT\s+(?!\s|-1\b)).*", re.MULTILINE | re.IGNORECASE)
_GROUPS = {
    "cssr": re.compile(r"\bSPGR *= *(\d+)"),
    "xsd": re.compile(r'\bITNumber="(\d+)"'),
    "dmol-car": re.compile(r"^PBC .*\((.*)\)", re.MULTILINE),
}
# ASE takes operations, or a number or name of International Tables, but no symbol of Hall's.
_HALL = re.compile(r"^_\w+_name_hall\s+(['\"]?)([^'\"\n]+)\1", re.MULTILINE | re.IGNORECASE)
_TAKEN = re.compile(
    r"^\s*_(?:space_group|symmetry)\S*(?:xyz|h-m|number)", re.MULTILINE | re.IGNORECASE
)
KINDS = ("res", "cif", *_GROUPS)


def require_no_symmetry(group: str, molecule: str = "") -> None:
    """Refuse a cell of a space group other than P 1.

    Parameters
    ----------
    group
        Its name or number.
    molecule
        What to leave out for the molecule alone, where the format does without a cell.

    Raises
    ------
    StructureError
        Names no file.
    """
    if group.replace(" ", "").upper() not in _NONE:
        _refuse(f"of space group {group.strip()}", molecule)


def check_symmetry(text: str, kind: str) -> None:
    """Raise a StructureError for a file of `KINDS` whose symmetry a parser would leave out."""
    if kind == "res" and (stated := _SHELX.search(text)):
        _refuse(f"with symmetry ({stated[0].strip()})", "")
    if kind == "cif" and (stated := _HALL.search(text)) and not _TAKEN.search(text):
        _refuse_hall(stated[2].strip())
    if kind in _GROUPS and (stated := _GROUPS[kind].search(text)):
        require_no_symmetry(stated[1])


def _refuse_hall(symbol: str) -> None:
    if symbol.replace(" ", "") not in (*_NONE, "?", "."):
        raise StructureError(
            f"tells its space group only by Hall's symbol ({symbol}), which is not read; give the "
            "symmetry operations, or the name of the group"
        )


def _refuse(cell: str, molecule: str) -> None:
    alone = f", or the molecule without {molecule}" if molecule else ""
    raise StructureError(
        f"has a cell {cell} and does not tell whether these are all of its atoms; give the crystal "
        f"as CIF, or in P 1 with all atoms{alone}"
    )
