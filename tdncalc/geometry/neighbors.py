"""Neighbor lists: every pair of atoms nearer than a cutoff, in any periodicity, with a skin.

The search is vesin's for periodic structures and SciPy's k-d tree's for the others. Measured at 5 Å
and 0.1 atoms/Å³, one thread, for 192 / 1000 / 10,000 atoms: periodic, vesin 0.8 / 3.2 / 38 ms,
matscipy 2.8 / 8.8 / 88 ms (it refuses singular cells); not periodic, k-d tree 0.1 / 2.2 / 24 ms,
vesin 0.3 / 3.7 / 31 ms (it ends the process where one atom is 10⁶ Å away).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from vesin import NeighborList

from tdncalc.errors import StructureError
from tdncalc.structures.checks import complete_cell

__all__ = ["Candidates", "Edges", "SkinNeighborList", "neighbor_list"]

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]
_Bools: TypeAlias = NDArray[np.bool_]
_Indices: TypeAlias = NDArray[np.integer[Any]]
_Shifts: TypeAlias = NDArray[np.integer[Any]]
Edges: TypeAlias = tuple[_Ints, _Ints]
Candidates: TypeAlias = tuple[NDArray[np.int32], _Shifts]

# Å by which a search reaches further than asked, so that rounding in it cannot lose a pair: one
# arithmetic, that of `_within`, decides.
_MARGIN = 1e-6
_MAX_BINS = 1e5  # of vesin's search grid
_MAX_CELLS = 2**29  # between an atom and its cell: shifts have 32 bits
_NONE: Candidates = np.empty((2, 0), dtype=np.int32), np.empty((0, 3), dtype=np.int16)
_FEW = 64  # atoms without periods: all pairs are measured sooner than a tree is built


def neighbor_list(positions: _Floats, cell: _Floats, pbc: _Bools, cutoff: float) -> Edges:
    """List every directed pair of atoms nearer than a cutoff.

    Parameters
    ----------
    positions
        ``(N, 3)`` in Å; atoms may lie outside the cell.
    cell
        ``(3, 3)`` in Å, rows are vectors: skewed, left-handed, of any size. Rows of directions that
        are not periodic are ignored.
    pbc
        ``(3,)``, which cell vectors are periodic.
    cutoff
        Å; pairs at exactly this distance are left out.

    Returns
    -------
    edge_index
        ``(2, E)``, rows source j and target i. Both directions of a pair are listed, and so are the
        images of an atom as its own neighbors, but never the atom itself.
    edge_shift
        ``(E, 3)`` in cell vectors: ``positions[j] + edge_shift @ cell - positions[i]`` is the edge.
        Edges are sorted by target, then source, then shift, whatever search found them.

    Raises
    ------
    StructureError
        A position or cell vector is not finite, the periodic vectors are linearly dependent, or the
        structure is so long and thin that it cannot be searched.
    """
    candidates = _search(positions, cell, pbc, cutoff)
    return _within(candidates, _offsets(candidates[1], cell), positions, cutoff)


class SkinNeighborList:
    """A neighbor list that is searched anew only when atoms have moved far enough.

    Pairs are kept up to the cutoff and the skin, and those beyond the cutoff are left out of what
    `update` returns. Let F be the deformation that takes the cell of the last search to the present
    one, s its smallest singular value, and u what an atom moved beyond F. A pair that was not kept
    was further apart than cutoff + skin and is now further than s (cutoff + skin) − 2 max|u|. While
    that is no less than the cutoff, the kept pairs contain all edges.

    Parameters
    ----------
    cutoff
        Å.
    skin
        Å; with 0 every call searches.

    Attributes
    ----------
    n_builds
        How often the pairs were searched.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.n_builds = 0
        self._known = False  # whether the last search came to its end
        self._positions: _Floats = np.empty((0, 3))
        self._cell: _Floats = np.zeros((3, 3))
        self._pbc: _Bools = np.zeros(3, dtype=np.bool_)
        self._candidates: Candidates
        self._offsets: _Floats
        self._offsets_cell: _Floats

    def update(self, positions: _Floats, cell: _Floats, pbc: _Bools) -> Edges:
        """Return what `neighbor_list` returns, to the last bit and in the same order."""
        candidates = self.candidates(positions, cell, pbc)
        if not np.array_equal(self._offsets_cell, cell):
            self._offsets = _offsets(candidates[1], cell)
            self._offsets_cell = cell.copy()
        return _within(candidates, self._offsets, positions, self.cutoff)

    def candidates(self, positions: _Floats, cell: _Floats, pbc: _Bools) -> Candidates:
        """Return pairs that contain all edges, in their order, as small integers.

        They are the same object as long as nothing was searched.
        """
        if not self.holds(positions, cell, pbc):
            self._candidates, self._known = _NONE, False  # two lists need not lie in memory
            self._candidates = _search(positions, cell, pbc, self.cutoff + self.skin)
            self._positions, self._cell, self._pbc = positions.copy(), cell.copy(), pbc.copy()
            self._offsets_cell = np.full((3, 3), np.nan)
            self._known = True
            self.n_builds += 1
        return self._candidates

    def holds(self, positions: _Floats, cell: _Floats, pbc: _Bools) -> bool:
        """Tell whether the pairs of the last search are sure to contain all edges."""
        comparable = (
            self._known
            and positions.shape == self._positions.shape
            and np.array_equal(pbc, self._pbc)
            and np.isfinite(cell).all()
        )
        if not comparable:
            return False
        deformation, shrinkage = _deformation(self._cell[pbc], cell[pbc])
        moved = positions - self._positions @ deformation
        with np.errstate(invalid="ignore"):  # an infinite position is told of by the search
            moved -= moved.mean(axis=0) if len(moved) else 0.0  # a common motion changes nothing
        farthest = np.sqrt(np.einsum("nx,nx->n", moved, moved).max(initial=0.0))
        # Without a skin this is never enough.
        nearest_lost = shrinkage * (self.cutoff + self.skin) - 2 * farthest
        return bool(nearest_lost >= self.cutoff + _MARGIN)


def _deformation(before: _Floats, after: _Floats) -> tuple[_Floats, float]:
    """Find the deformation of space that takes some cell vectors to others.

    Parameters
    ----------
    before, after
        The periodic cell vectors in Å, ``(p, 3)`` with p from 0 to 3.

    Returns
    -------
    deformation
        ``(3, 3)``, ``before @ deformation = after``; nothing changes at right angles to `before`.
    shrinkage
        Its smallest singular value: the least by which it multiplies a length.
    """
    if np.array_equal(before, after):
        return np.eye(3), 1.0
    deformation = np.eye(3) + np.linalg.pinv(before) @ (after - before)
    return deformation, float(np.linalg.svd(deformation, compute_uv=False)[-1])


def _search(positions: _Floats, cell: _Floats, pbc: _Bools, cutoff: float) -> Candidates:
    """List, in the order of edges, pairs that include all within the cutoff."""
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise StructureError("a position or cell vector is NaN or infinite; correct the structure")
    reach = cutoff + _MARGIN
    if not pbc.any() and len(positions) <= _FEW:
        apart = positions[:, None] - positions[None]  # (N, N, 3)
        near = (apart * apart).sum(axis=2) < reach * reach
        np.fill_diagonal(near, val=False)
        target, source = near.nonzero()
        edge_index = np.stack([source, target]).astype(np.int32)
        return edge_index, np.zeros((len(source), 3), dtype=np.int16)
    pairs: _Indices
    shift: _Shifts
    if pbc.any():
        box = complete_cell(cell, pbc)
        _require_searchable(positions, box, pbc, reach)
        cells = _cells(positions, box, pbc)
        search = NeighborList(cutoff=reach, full_list=False, n_threads=1)
        pairs, shift = search.compute(positions - cells @ box, box, pbc, "PS", copy=False)
        if cells.any():
            shift = shift + (cells[pairs[:, 0]] - cells[pairs[:, 1]])
    else:
        search = cKDTree(positions)
        pairs = search.query_pairs(reach, output_type="ndarray")
        shift = np.zeros((len(pairs), 3), dtype=np.int32)
    most = int(max(shift.max(initial=0), -shift.min(initial=0)))
    code = _Code((len(positions) - 1).bit_length(), (2 * most).bit_length(), most)
    if not code.fits:
        return _both_ways(pairs, shift)
    key = code.encode(pairs.view(np.int64), shift)
    del pairs, shift, search  # much memory
    return code.decode(key)


def _require_searchable(positions: _Floats, box: _Floats, pbc: _Bools, reach: float) -> None:
    """Refuse what would leave vesin without bins in one direction: it divides by their number."""
    inverse = np.linalg.inv(box)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    scaled = positions @ inverse  # (N, 3)
    extents = (scaled.max(axis=0, initial=0.0) - scaled.min(axis=0, initial=0.0)) * heights
    bins = np.maximum(np.floor(np.where(pbc, heights, extents) / reach), 1.0)
    fewer = min(1.0, np.cbrt(_MAX_BINS / bins.prod()))
    if fewer < 1.0 and bins.min() * fewer < 2.0:
        raise StructureError(
            "the structure is too long and thin to search for neighbors; "
            "make the cell smaller, or remove atoms that are far away"
        )


def _cells(positions: _Floats, box: _Floats, pbc: _Bools) -> _Ints:
    """Find the cell that each atom is in, (N, 3), where vesin would not find it soon.

    Where all directions are periodic it wraps atoms itself; else its time grows as their distances.
    """
    cells = np.floor(positions @ np.linalg.inv(box)) * pbc
    if np.abs(cells).max(initial=0.0) > _MAX_CELLS:
        raise StructureError("an atom is very far outside the cell; wrap the positions into it")
    return cells.astype(np.int64) * (not pbc.all())


def _both_ways(pairs: _Indices, shift: _Shifts) -> Candidates:
    """Sort pairs (P, 2) with shifts (P, 3), each given once, in both directions."""
    target, source = np.concatenate([pairs, pairs[:, ::-1]]).T
    shift = np.concatenate([shift, -shift]).astype(np.int64)
    order = np.lexsort((*shift.T[::-1], source, target))
    return np.stack([source, target]).astype(np.int32)[:, order], shift[order]


@dataclass(frozen=True)
class _Code:
    """Directed pairs as integers that sort by target, then source, then shift.

    To sort these and to take them apart again is several times as fast as to sort indices and to
    follow them.

    Attributes
    ----------
    atom_bits, shift_bits
        What an atom's index takes, and a shift along one cell vector.
    most
        The largest shift, in either direction.
    """

    atom_bits: int
    shift_bits: int
    most: int

    @property
    def fits(self) -> bool:
        """Whether integers of 64 bits can hold it, and those of 16 the shifts."""
        return 2 * self.atom_bits + 3 * self.shift_bits <= 63 and self.most < 2**15

    def encode(self, pairs: _Ints, shift: _Shifts) -> _Ints:
        """Return both directions of pairs (P, 2) with shifts (P, 3), sorted, (2P,)."""
        offset = np.zeros(len(pairs), dtype=np.int64)
        for part in shift.T:
            offset <<= self.shift_bits
            offset += part
        zero = sum(self.most << axis * self.shift_bits for axis in range(3))
        key = np.empty(2 * len(pairs), dtype=np.int64)
        for half, (target, source) in zip(np.split(key, 2), (pairs.T, pairs.T[::-1]), strict=True):
            np.left_shift(target, self.atom_bits, out=half)
            half |= source
            half <<= 3 * self.shift_bits
            half += offset
            half += zero
            np.negative(offset, out=offset)
        key.sort()
        return key

    def decode(self, key: _Ints) -> Candidates:
        """Return the pairs of integers, which are used up."""
        shift = np.empty((len(key), 3), dtype=np.int16)
        for axis in (2, 1, 0):
            shift[:, axis] = key & (1 << self.shift_bits) - 1
            key >>= self.shift_bits
        shift -= self.most
        edge_index = np.empty((2, len(key)), dtype=np.int32)
        edge_index[0] = key & (1 << self.atom_bits) - 1
        key >>= self.atom_bits
        edge_index[1] = key
        return edge_index, shift


def _offsets(edge_shift: _Shifts, cell: _Floats) -> _Floats:
    """Turn shifts into Å, (3, E)."""
    shift = edge_shift.T.astype(np.float64)
    # Not a matrix product: its rounding may depend on how many edges there are.
    return np.stack([shift[0] * a + shift[1] * b + shift[2] * c for a, b, c in cell.T])


def _within(candidates: Candidates, offsets: _Floats, positions: _Floats, cutoff: float) -> Edges:
    """Keep the pairs nearer than the cutoff."""
    source, target = candidates[0]
    squared = np.zeros(len(source))
    for x, offset in zip(np.ascontiguousarray(positions.T), offsets, strict=True):
        # In this order the two directions of a pair round alike.
        component = (x[source] - x[target]) + offset
        squared += component * component
    near = np.flatnonzero(squared < cutoff * cutoff)
    edge_index, edge_shift = candidates[0][:, near], candidates[1][near]
    return edge_index.astype(np.int64), edge_shift.astype(np.int64)
