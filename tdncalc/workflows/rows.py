"""Rows of three coordinates that belong to structures, and sums over those of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Rows:
    """R rows of B structures, those of each one after another.

    Parameters
    ----------
    counts
        Rows of each structure, (B,), at least one each.

    Attributes
    ----------
    counts, starts
        How many rows each structure has and where they begin, (B,).
    owner
        The structure of each row, (R,).
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.counts = counts
        self.starts = np.cumsum(counts) - counts
        self.owner = np.repeat(np.arange(len(counts)), counts)
        self._flat_starts = 3 * self.starts

    def dot(self, a: Floats, b: Floats, n: int | None = None) -> Floats:
        """Return the scalar product (n,) of the vectors (R', 3) of the first n structures."""
        if len(self.counts) == 1:  # much less time
            return np.array([np.vdot(a, b)])
        return np.add.reduceat((a * b).ravel(), self._flat_starts[:n])

    def longest(self, a: Floats) -> Floats:
        """Return the length (B,) of the longest row (R, 3) of each structure."""
        return np.sqrt(np.maximum.reduceat(np.einsum("rx,rx->r", a, a), self.starts))

    def spread(self, values: Floats) -> Floats:
        """Give each row the value of its structure, (B',) to (R', 1); (1, 1) of one structure."""
        if len(self.counts) == 1:
            return values[:, None]
        return values.repeat(self.counts[: len(values)])[:, None]
