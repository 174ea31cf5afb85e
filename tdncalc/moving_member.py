"""One of many structures that move, with the neighbor list that it keeps."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tdncalc.errors import StructureError
from tdncalc.geometry.graph import AtomicGraph, make_graph
from tdncalc.geometry.neighbors import SkinNeighborList
from tdncalc.potential import Potential
from tdncalc.structures import check_elements
from tdncalc.structures.checks import check_apart

__all__ = ["Member"]

_PAIRS_PER_ATOM = 10  # in the memory that they take

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
    graph
        Its atoms and pairs that contain all edges, where the neighbors were last searched.
    size
        What it takes of a batch, in pairs.
    """

    def __init__(self, potential: Potential, atoms: Atoms, skin: float) -> None:
        check_elements(atoms.numbers, potential.elements, potential.name, "structure")
        self.numbers, self.pbc = atoms.numbers.copy(), atoms.pbc.copy()
        self._neighbors = SkinNeighborList(potential.cutoff, skin)
        self.graph: AtomicGraph
        self.size: int
        self.follow(atoms.positions, atoms.cell.array)

    def follow(self, positions: _Floats, cell: _Floats) -> bool:
        """Search the neighbors anew if the atoms have moved too far; tell whether it did."""
        before = self._neighbors.n_builds
        pairs = self._neighbors.candidates(positions, cell, self.pbc)
        if self._neighbors.n_builds == before:
            return False
        self.graph = make_graph(self.numbers, positions, cell, *pairs)
        self.size = _PAIRS_PER_ATOM * len(self.numbers) + pairs[0].shape[1]
        return True

    def pairs(self) -> tuple[NDArray[np.int64], _Floats]:
        """Return pairs of atoms (2, P) and their distances (P,) in Å, as last searched."""
        pairs, positions = self.graph.edge_index.numpy(), self.graph.positions.numpy()
        offsets = self.graph.edge_shift.numpy() @ self.graph.cell[0].numpy()
        vectors = positions[pairs[0]] + offsets - positions[pairs[1]]
        return pairs, np.sqrt(np.einsum("px,px->p", vectors, vectors))

    def fault(self, positions: _Floats, cell: _Floats) -> StructureError | None:
        """Tell which of its atoms are at one point, if any are."""
        try:
            check_apart(Atoms(self.numbers, positions, cell=cell, pbc=self.pbc))
        except StructureError as error:
            return error
        return None
