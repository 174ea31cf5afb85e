"""What a labeled set has of a cubic element: strained crystals, vacancies, slabs, and the rest."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

__all__ = ["LATTICES", "Found", "crystal", "load"]

LATTICES = {
    **dict.fromkeys(("Ni", "Cu"), "fcc"),
    **dict.fromkeys(("Si", "Ge"), "diamond"),
    **dict.fromkeys(("Li", "Nb", "Mo", "Ta", "W"), "bcc"),
}
# atoms of the conventional cell, fractions of its edge that atoms lie at, its repeats in supercells
_SITES = {"fcc": (4, 2, 3), "bcc": (2, 2, 3), "diamond": (8, 4, 2)}


@dataclass
class Found:
    """Structures of an element by kind, and ``reference``, the unstrained edge in Å."""

    strained: list[Atoms] = field(default_factory=list)
    vacancies: list[Atoms] = field(default_factory=list)
    slabs: list[Atoms] = field(default_factory=list)
    thermal: list[Atoms] = field(default_factory=list)

    @property
    def reference(self) -> float:
        """The most common edge of the strained crystals: each strain leaves some as they were."""
        edges = [
            length / _repeats(atoms) for atoms in self.strained for length in atoms.cell.lengths()
        ]
        values, counts = np.unique(np.round(edges, 4), return_counts=True)
        return float(values[np.argmax(counts)])


def crystal(element: str, a: float, repeats: int = 1) -> Atoms:
    """Return a crystal of conventional cells with the lattice constant `a` in Å."""
    return bulk(element, LATTICES[element], a=a, cubic=True).repeat(repeats)


def load(folder: Path, element: str, source: str) -> Found:
    """Return what a set has of an element alone, of the files of ``split_data.py metals``."""
    found = Found()
    for part in ("train", "valid", "test"):
        for atoms in read(folder / f"{source}-{part}.extxyz", ":"):
            if set(atoms.symbols) == {element}:
                _kind(found, atoms).append(atoms)
    return found


def _kind(found: Found, atoms: Atoms) -> list[Atoms]:
    """Return the list that a structure belongs to."""
    per_cell, _, repeats = _SITES[LATTICES[atoms.symbols[0]]]
    whole = per_cell * repeats**3
    if len(atoms) == whole - 1:
        return found.vacancies
    if len(atoms) not in (per_cell, whole) or np.ptp(atoms.cell.lengths()) > 0.25 * whole:
        return found.slabs
    return found.strained if _ideal(atoms) else found.thermal


def _repeats(atoms: Atoms) -> int:
    per_cell = _SITES[LATTICES[atoms.symbols[0]]][0]
    return round((len(atoms) / per_cell) ** (1 / 3))


def _ideal(atoms: Atoms) -> bool:
    """Return whether all atoms lie at their places in the cell."""
    steps = _SITES[LATTICES[atoms.symbols[0]]][1] * _repeats(atoms)
    places = steps * (atoms.get_scaled_positions(wrap=False) - atoms.get_scaled_positions()[0])
    return bool(np.abs(places - places.round()).max() < 0.002 * steps)
