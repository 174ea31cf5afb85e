"""One of many structures that move, with the neighbor list that it keeps."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tdncalc.batches import in_edges
from tdncalc.errors import StructureError
from tdncalc.geometry.neighbors import SkinNeighborList
from tdncalc.potential import Potential
from tdncalc.structures import check_elements
from tdncalc.structures.checks import check_apart

__all__ = ["Member"]

_Floats = NDArray[np.float64]


class Member:
    """One structure of a batch, with the neighbor list that it keeps.

    Parameters
    ----------
    potential
        The model that will evaluate it.
    atoms
        The structure, which passed `tdncalc.structures.check`; it is not changed.
    skin
        Å by which the list reaches further than the cutoff.

    Raises
    ------
    StructureError
        The model cannot evaluate it.

    Attributes
    ----------
    numbers, pbc
        Of the structure.
    positions, cell
        Where the neighbors were last searched, (N, 3) and (3, 3) in Å.
    edge_index, edge_shift
        Pairs that contain all edges, (2, P) and (P, 3), as of an
        :class:`tdncalc.geometry.graph.AtomicGraph`.
    size
        What it takes of a batch, in pairs.
    """

    def __init__(self, potential: Potential, atoms: Atoms, skin: float) -> None:
        check_elements(atoms.numbers, potential.elements, potential.name, "structure")
        self.numbers, self.pbc = atoms.numbers.astype(np.int64), atoms.pbc.copy()
        self._neighbors = SkinNeighborList(potential.cutoff, skin)
        self.positions: _Floats
        self.cell: _Floats
        self.edge_index: NDArray[np.int64]
        self.edge_shift: _Floats
        self.size: int
        self.follow(atoms.positions, atoms.cell.array)

    def follow(self, positions: _Floats, cell: _Floats) -> bool:
        """Search the neighbors anew if the atoms have moved too far; tell whether it did."""
        before = self._neighbors.n_builds
        pairs = self._neighbors.candidates(positions, cell, self.pbc)
        if self._neighbors.n_builds == before:
            return False
        self.positions, self.cell = positions.copy(), cell.copy()
        self.edge_index, self.edge_shift = pairs[0].astype(np.int64), pairs[1].astype(np.float64)
        self.size = in_edges(len(self.numbers), self.edge_index.shape[1])
        return True

    def distances(self) -> _Floats:
        """Return the distances of the pairs (P,) in Å where they were last searched."""
        source, target = self.positions[self.edge_index]
        vectors = source + self.edge_shift @ self.cell - target
        return np.asarray(np.sqrt(np.einsum("px,px->p", vectors, vectors)))

    def fault(self, positions: _Floats, cell: _Floats) -> StructureError | None:
        """Tell which of its atoms are at one point, if any are."""
        try:
            check_apart(Atoms(self.numbers, positions, cell=cell, pbc=self.pbc))
        except StructureError as error:
            return error
        return None
