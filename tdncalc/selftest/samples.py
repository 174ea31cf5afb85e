"""Small awkward structures of whatever elements a model knows."""

from collections.abc import Sequence

import ase.data
import numpy as np
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray

__all__ = ["sample_structures"]

_MOLECULES = ("H2O", "CH3CH2OH", "HCOOH")
_PREFERRED = ("C", "Si", "O", "N", "H", "Cu")
# No two of its distances and angles are alike: five atoms that differ from their mirror image.
_CHIRAL = np.array(
    [[0.0, 0.0, 0.0], [0.95, 0.1, 0.2], [-0.3, 1.0, -0.1], [-0.5, -0.6, 0.75], [0.1, -0.55, -0.9]]
)


def sample_structures(elements: Sequence[str]) -> dict[str, Atoms]:
    """Return named structures that hold no element but these, of reproducible geometry.

    Molecules that ASE knows, a chiral cluster, a cell so small that atoms see their own images, a
    skewed cell, and a chain; shaken off their minima and planes, but for one flat molecule.
    """
    known = set(elements)
    found = {f"molecule {name}": _shaken(molecule(name)) for name in _MOLECULES}
    found["flat molecule HCOOH"] = molecule("HCOOH")
    found = {name: atoms for name, atoms in found.items() if set(atoms.symbols) <= known}
    first, second = _two_elements(elements)
    found["chiral cluster"] = _cluster(elements)
    found["one-atom cell"] = _one_atom_cell(first)
    found["skewed cell"] = _skewed_cell(first, second)
    found["chain"] = _chain(first, second)
    return found


def _two_elements(elements: Sequence[str]) -> tuple[str, str]:
    ordered = [e for e in _PREFERRED if e in elements]
    ordered += [e for e in elements if e not in ordered]
    return ordered[0], ordered[min(1, len(ordered) - 1)]


def _cluster(elements: Sequence[str]) -> Atoms:
    chosen = [elements[k % len(elements)] for k in range(len(_CHIRAL))]
    if {"C", "H", "F", "Cl", "Br"} <= set(elements):
        chosen = ["C", "H", "F", "Cl", "Br"]
    reach = [_radius(chosen[0]) + _radius(symbol) for symbol in chosen]
    return Atoms(chosen, _CHIRAL * np.array(reach)[:, None])


def _one_atom_cell(symbol: str) -> Atoms:
    side = 2.3 * _radius(symbol)
    cell = side * np.array([[1.0, 0, 0], [0.1, 1.05, 0], [0.2, -0.1, 1.1]])
    return Atoms(symbol, cell=cell, pbc=True)


def _skewed_cell(first: str, second: str) -> Atoms:
    bond = _radius(first) + _radius(second)
    cell = bond * np.array([[1.9, 0, 0], [1.2, 1.8, 0], [-0.7, 0.5, 2.0]])
    atoms = Atoms([first, second], [np.zeros(3), cell.sum(0) * 0.45], cell=cell, pbc=True)
    return _shaken(atoms)


def _chain(first: str, second: str) -> Atoms:
    bond = _radius(first) + _radius(second)
    positions: NDArray[np.float64] = bond * np.array([[0, 0, 0], [0.6, 0.2, 0.9]])
    cell = np.diag([12.0, 12.0, 1.9 * bond])
    return Atoms([first, second], positions, cell=cell, pbc=(False, False, True))


def _shaken(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=3)
    return atoms


def _radius(symbol: str) -> float:
    return float(ase.data.covalent_radii[ase.data.atomic_numbers[symbol]])
