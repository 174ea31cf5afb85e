"""Which atoms are bonded, and which hang together."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Bonds", "connected"]

_BOND = 1.25  # of the sum of covalent radii: what is nearer is bonded


class Bonds:
    """The bonds of a structure: pairs nearer than 1.25 times the sum of their covalent radii.

    Parameters
    ----------
    atoms
        The structure in which they are looked for.

    Attributes
    ----------
    i, j
        The atoms of each bond, (B,); every bond is there from both of its ends.
    longest
        The length up to which they are bonded, Å, (B,).
    """

    def __init__(self, atoms: Atoms) -> None:
        radii = _BOND * covalent_radii[atoms.numbers]
        self.i, self.j, self._shift = neighbor_list("ijS", atoms, list(radii))
        self.longest = radii[self.i] + radii[self.j]

    def lengths(self, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Return how long they are now, Å, (B,).

        `positions` (N, 3) are of the same atoms, moved, and not wrapped into the cell since.
        """
        vectors = positions[self.j] + self._shift @ cell - positions[self.i]
        return np.asarray(np.linalg.norm(vectors, axis=1))


def connected(n_atoms: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return which connected part each atom belongs to, (N,), given pairs of atoms."""
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(n_atoms, n_atoms))
    return np.asarray(connected_components(graph, directed=False)[1])
