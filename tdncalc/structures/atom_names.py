"""Elements by the names that atoms have in files of biomolecules."""

import re

from ase.data import atomic_numbers

__all__ = ["DEUTERIUM", "is_symbol", "named_halogen"]

DEUTERIUM = 2.014  # amu


def is_symbol(text: str) -> bool:
    """Tell whether a text is the symbol of an element."""
    return text in atomic_numbers and text != "X"


def named_halogen(name: str) -> str | None:
    """Return Cl or Br of names like CL2: no carbon or boron of a biomolecule is called so."""
    halogen = re.match(r"(CL|BR)(?![A-Z])", name.upper())
    return halogen[1].capitalize() if halogen else None
