"""Whether a molecule has come apart and a piece of it has left."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_BOND = 1.25  # of the sum of covalent radii: what is nearer is bonded


class Molecules:
    """The molecules of a structure as they were: atoms connected by bonds.

    Whole molecules may go where they like: a gas, a cluster that evaporates. So may pieces among
    other atoms: a proton on its way. Only a piece of a molecule that is alone is missing.

    Parameters
    ----------
    atoms
        The structure in which the bonds are looked for.
    """

    def __init__(self, atoms: Atoms) -> None:
        radii = list(_BOND * covalent_radii[atoms.numbers])
        self._i, self._j, self._shift = neighbor_list("ijS", atoms, radii)
        self._molecule = _components(len(atoms), self._i, self._j)

    def lost(self, atoms: Atoms, gap: float) -> np.ndarray | None:
        """Return the atoms of a piece that is `gap` (Å) from everything else, or None.

        `atoms` are the same atoms, moved, and not wrapped into the cell since.
        """
        bonds = atoms.positions[self._j] + self._shift @ atoms.cell.array
        bonds -= atoms.positions[self._i]
        if (np.einsum("ij,ij->i", bonds, bonds) <= gap**2).all():
            return None  # every molecule hangs together
        i, j = neighbor_list("ij", atoms, gap)
        piece = _components(len(atoms), i, j)
        # a piece is alone if all its atoms are of one molecule, and lost if others are elsewhere
        parts = [np.flatnonzero(piece == index) for index in range(piece.max() + 1)]
        alone = [part for part in parts if self._is_broken_off(part)]
        return min(alone, key=len) if alone else None

    def _is_broken_off(self, part: np.ndarray) -> bool:
        molecule = self._molecule[part]
        whole = (self._molecule == molecule[0]).sum()
        return bool((molecule == molecule[0]).all() and len(part) < whole)


def _components(n_atoms: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return which connected part each atom belongs to, (N,), given pairs of atoms."""
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(n_atoms, n_atoms))
    return np.asarray(connected_components(graph, directed=False)[1])
