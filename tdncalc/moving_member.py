"""One of many structures that move, with the neighbor list that it keeps."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tdncalc.errors import StructureError
from tdncalc.geometry.graph import AtomicGraph, make_graph
from tdncalc.geometry.neighbors import SkinNeighborList
from tdncalc.potential import Potential
from tdncalc.structures import check, check_elements
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
        The structure; it is not changed.
    skin
        Å by which the list reaches further than the cutoff.

    Raises
    ------
    StructureError
        The model cannot evaluate it.
    """

    def __init__(self, potential: Potential, atoms: Atoms, skin: float) -> None:
        check(atoms)
        check_elements(atoms.numbers, potential.elements, potential.name, "structure")
        self.numbers, self.pbc = atoms.numbers.copy(), atoms.pbc.copy()
        self._neighbors = SkinNeighborList(potential.cutoff, skin)
        self.graph: AtomicGraph
        self.follow(atoms.positions, atoms.cell.array)

    @property
    def size(self) -> int:
        """Edges and atoms."""
        return int(self.graph.edge_index.shape[1]) + len(self.numbers)

    def follow(self, positions: _Floats, cell: _Floats) -> bool:
        """Search the neighbors anew if the atoms have moved too far; tell whether it did."""
        before = self._neighbors.n_builds
        pairs = self._neighbors.candidates(positions, cell, self.pbc)
        if self._neighbors.n_builds == before:
            return False
        self.graph = make_graph(self.numbers, positions, cell, *pairs)
        return True

    def fault(self, positions: _Floats, cell: _Floats) -> StructureError | None:
        """Tell which of its atoms are at one point, if any are."""
        try:
            check_apart(Atoms(self.numbers, positions, cell=cell, pbc=self.pbc))
        except StructureError as error:
            return error
        return None
