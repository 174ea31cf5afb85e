"""Neighbor lists: every pair of atoms nearer than a cutoff, periodic in any directions, with a skin."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from tdncalc.errors import StructureError

__all__ = ["Edges", "SkinNeighborList", "neighbor_list"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Edges: TypeAlias = tuple[Ints, Ints]

DENSE_ATOMS = 64
SAFETY = 1e-6


def neighbor_list(positions: Floats, cell: Floats, pbc: Bools, cutoff: float) -> Edges:
    """List every directed pair of atoms nearer than a cutoff.

    Parameters
    ----------
    positions
        ``(N, 3)`` in Å; atoms may lie outside the cell.
    cell
        ``(3, 3)`` in Å, rows are vectors: skewed, left-handed, of any size. Rows of directions that
        are not periodic are ignored and may be zero.
    pbc
        ``(3,)``, whether each cell vector is periodic.
    cutoff
        Å; pairs at exactly this distance are left out.

    Returns
    -------
    edge_index
        ``(2, E)``, rows source j and target i. Both directions of a pair are listed, and so are the
        images of an atom as its own neighbors, but never an atom itself.
    edge_shift
        ``(E, 3)`` in cell vectors: ``positions[j] + edge_shift @ cell - positions[i]`` is the edge.
        Edges are sorted by target, then source, then shift, whatever made the list.

    Raises
    ------
    StructureError
        If a position or cell vector is not finite or the periodic vectors are linearly dependent.
    """
    positions, cell, pbc = _arrays(positions, cell, pbc)
    edge_index, edge_shift = _candidates(positions, cell, pbc, cutoff)
    return _within(edge_index, edge_shift, positions, edge_shift @ cell, cutoff)


def _arrays(positions: Floats, cell: Floats, pbc: Bools) -> tuple[Floats, Floats, Bools]:
    return (
        np.asarray(positions, dtype=np.float64).reshape(-1, 3),
        np.asarray(cell, dtype=np.float64).reshape(3, 3),
        np.asarray(pbc, dtype=np.bool_).reshape(3),
    )


def _candidates(positions: Floats, cell: Floats, pbc: Bools, cutoff: float) -> Edges:
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise StructureError("a position or cell vector is NaN or infinite; check the structure")
    reach = cutoff + SAFETY
    if not pbc.any() and len(positions) <= DENSE_ATOMS:
        return _dense(positions, reach)
    search = NeighborList(cutoff=reach, full_list=True, n_threads=1)
    target, source, shift = search.compute(positions, _complete(cell, pbc), pbc, "ijS")
    edge_index = np.stack([source, target]).astype(np.int64)
    edge_shift = shift.astype(np.int64)
    order = np.lexsort((*edge_shift.T[::-1], edge_index[0], edge_index[1]))
    return edge_index[:, order], edge_shift[order]


def _dense(positions: Floats, reach: float) -> Edges:
    vectors = positions[None, :] - positions[:, None]  # (N, N, 3)
    near = np.einsum("ijx,ijx->ij", vectors, vectors) < reach * reach
    np.fill_diagonal(near, False)
    target, source = near.nonzero()
    return np.stack([source, target]), np.zeros((len(source), 3), dtype=np.int64)


def _complete(cell: Floats, pbc: Bools) -> Floats:
    vectors = cell[pbc]
    complete = cell.copy()
    _, singular, directions = np.linalg.svd(vectors) if len(vectors) else (None, np.ones(0), np.eye(3))
    if (singular < 1e-6).any():
        raise StructureError("the periodic cell vectors are linearly dependent; check the cell")
    complete[~pbc] = directions[len(vectors) :]
    return complete


def _within(
    edge_index: Ints, edge_shift: Ints, positions: Floats, offsets: Floats, cutoff: float
) -> Edges:
    source, target = edge_index
    vectors = (positions[source] - positions[target]) + offsets
    near = np.einsum("ex,ex->e", vectors, vectors) < cutoff * cutoff
    return edge_index[:, near], edge_shift[near]


class SkinNeighborList:
    """A neighbor list kept with a skin (Å)."""

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.n_builds = 0

    def update(self, positions: Floats, cell: Floats, pbc: Bools) -> Edges:
        """Return what `neighbor_list` returns."""
        self.n_builds += 1
        return neighbor_list(positions, cell, pbc, self.cutoff)
