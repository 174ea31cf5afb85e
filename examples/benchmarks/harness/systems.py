"""The structures on which every contender is measured; needs ASE and NumPy only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

__all__ = ["SYSTEMS", "make_system", "water_box"]

_EXAMPLES = Path(__file__).parent.parent.parent
_SPACING = 3.1058  # Å between molecules: 0.998 g/cm³
_APART = 1.7  # Å between atoms of two molecules


def water_box(*cells: int) -> Atoms:
    """Return so many waters along x, y and z, turned at random but clear of each other."""
    rng = np.random.default_rng(0)
    box = np.array(cells) * _SPACING
    placed = np.empty((0, 3))
    for place in np.ndindex(*cells):
        centre = (np.array(place) + 0.5) * _SPACING
        nearby = placed[(np.abs(_wrapped(placed - centre, box)) < 2 * _SPACING).all(1)]
        placed = np.concatenate([placed, centre + _turned_water(rng, nearby - centre, box)])
    return Atoms("OHH" * int(np.prod(cells)), placed, cell=box, pbc=True)


def _turned_water(rng: np.random.Generator, others: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return a water at the origin (3, 3), in the first of 100 orientations that is clear."""
    water = molecule("H2O").positions
    water -= water[0]
    best, most = water, 0.0
    for _ in range(100):
        turned = water @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        apart = _wrapped(others[:, None] - turned, box)
        nearest = np.sqrt((apart**2).sum(2)).min(initial=9.0)
        if nearest > most:
            best, most = turned, nearest
        if most > _APART:
            break
    return best


def _wrapped(vectors: np.ndarray, box: np.ndarray) -> np.ndarray:
    return vectors - box * np.round(vectors / box)


def _benzene(*cells: int) -> Atoms:
    return read(_EXAMPLES / "benzene.cif").repeat(cells)


SYSTEMS: dict[str, tuple[int, Callable[[], Atoms]]] = {
    "water": (3, lambda: molecule("H2O")),
    "aspirin": (21, lambda: read(_EXAMPLES / "aspirin.xyz")),
    "water-box": (192, lambda: water_box(4, 4, 4)),
    "silicon": (1000, lambda: bulk("Si", "diamond", a=5.43, cubic=True).repeat(5)),
    "benzene": (1152, lambda: _benzene(3, 2, 4)),
    "benzene-large": (10368, lambda: _benzene(6, 6, 6)),
}


def make_system(name: str) -> Atoms:
    """Return the atoms of a system, without a calculator."""
    atoms = SYSTEMS[name][1]()
    assert len(atoms) == SYSTEMS[name][0]
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
