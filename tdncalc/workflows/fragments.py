"""Whether a molecule has come apart and a piece of it has left."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from tdncalc.structures.bonds import Bonds, connected


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
        self._bonds = Bonds(atoms)
        self._molecule = connected(len(atoms), self._bonds.i, self._bonds.j)

    def lost(self, atoms: Atoms, gap: float) -> np.ndarray | None:
        """Return the atoms of a piece that is `gap` (Å) from everything else, or None.

        `atoms` are the same atoms, moved, and not wrapped into the cell since.
        """
        if (self._bonds.lengths(atoms.positions, atoms.cell.array) <= gap).all():
            return None  # every molecule hangs together
        i, j = neighbor_list("ij", atoms, gap)
        piece = connected(len(atoms), i, j)
        # a piece is alone if all its atoms are of one molecule, and lost if others are elsewhere
        parts = [np.flatnonzero(piece == index) for index in range(piece.max() + 1)]
        alone = [part for part in parts if self._is_broken_off(part)]
        return min(alone, key=len) if alone else None

    def _is_broken_off(self, part: np.ndarray) -> bool:
        molecule = self._molecule[part]
        whole = (self._molecule == molecule[0]).sum()
        return bool((molecule == molecule[0]).all() and len(part) < whole)
