"""Structures in and out: any file and pymatgen object to Atoms and back, checked on the way."""

from tdncalc.structures.checks import check, check_elements
from tdncalc.structures.conversion import AnyStructure, like, require_several, to_atoms
from tdncalc.structures.reading import Source, read_inputs
from tdncalc.structures.writing import (
    require_beside,
    require_different,
    require_new,
    require_room,
    require_writable,
    write,
)

__all__ = [
    "AnyStructure",
    "Source",
    "check",
    "check_elements",
    "like",
    "read_inputs",
    "require_beside",
    "require_different",
    "require_new",
    "require_room",
    "require_several",
    "require_writable",
    "to_atoms",
    "write",
]
