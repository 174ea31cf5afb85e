"""L-BFGS of many structures at once, each on the path that it takes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdncalc.workflows.descent import RISE
from tdncalc.workflows.many.rows import Bools, Floats, Rows

_MEMORY = 100  # pairs of steps and gradients
_INVERSE_CURVATURE = 1 / 70.0  # Å²/eV, of what nothing is known about yet
_MAX_STEP = 0.2  # Å, of any atom


@dataclass
class _Pair:
    """A step s with its change of gradient y, (R', 3), and 1 / (y · s), (B',).

    Only structures that were there take part: the first B'. An inverse of zero switches the pair
    off for a structure that has forgotten it.
    """

    s: Floats
    y: Floats
    inverse: Floats


class ManyLBFGS:
    """Steps of L-BFGS with the choices of ASE's, for structures that come and go.

    As :class:`tdncalc.workflows.descent.Descent` a structure forgets its pairs where the curvature
    is negative and where the energy rose. Two-loop recursion: J. Nocedal, Math. Comput. 35, 773
    (1980). The structures are in the order in which they came, so that those that have an old pair
    are the first ones, and no row is multiplied in vain.
    """

    def __init__(self) -> None:
        self._pairs: list[_Pair] = []
        self._x = np.empty((0, 3))
        self._gradient = np.empty((0, 3))
        self._energy = np.empty(0)

    def step(self, rows: Rows, x: Floats, gradient: Floats, energy: Floats) -> Floats:
        """Return the step to take.

        Parameters
        ----------
        rows
            Which rows belong to which structure; new structures come last.
        x, gradient
            Where all are, and the gradient there, (R, 3).
        energy
            What is minimized, eV, (B,).
        """
        if len(self._x):
            self._learn(rows, x, gradient, energy)
        self._x, self._gradient, self._energy = x.copy(), gradient.copy(), energy.copy()
        step = -self._solve(rows, gradient)
        longest = rows.longest(step)
        scale = _MAX_STEP / np.maximum(longest, _MAX_STEP)
        return np.asarray(step * rows.spread(scale))

    def keep(self, rows: Rows, kept: Bools) -> None:
        """Forget the structures that are not kept, mask (B,)."""
        by_row = np.flatnonzero(np.repeat(kept, rows.counts))
        structures = np.flatnonzero(kept)
        for pair in self._pairs:
            inner = by_row[: np.searchsorted(by_row, len(pair.s))]
            pair.s, pair.y = pair.s[inner], pair.y[inner]
            pair.inverse = pair.inverse[
                structures[: np.searchsorted(structures, len(pair.inverse))]
            ]
        self._drop_unused()
        known = by_row[: np.searchsorted(by_row, len(self._x))]
        self._x, self._gradient = self._x[known], self._gradient[known]
        self._energy = self._energy[structures[: np.searchsorted(structures, len(self._energy))]]

    def _learn(self, rows: Rows, x: Floats, gradient: Floats, energy: Floats) -> None:
        """Remember the last step of the structures that took one."""
        n = len(self._energy)
        s, y = x[: len(self._x)] - self._x, gradient[: len(self._x)] - self._gradient
        curvature = rows.dot(s, y, n)
        misled = (curvature <= 0) | (energy[:n] > self._energy + RISE)
        if misled.any():
            for pair in self._pairs:
                pair.inverse[misled[: len(pair.inverse)]] = 0.0
        inverse = np.where(misled, 0.0, 1.0 / np.where(curvature > 0, curvature, 1.0))
        self._pairs.append(_Pair(s, y, inverse))
        del self._pairs[:-_MEMORY]
        self._drop_unused()

    def _drop_unused(self) -> None:
        unused = 0
        while unused < len(self._pairs) and not self._pairs[unused].inverse.any():
            unused += 1
        del self._pairs[:unused]

    def _solve(self, rows: Rows, gradient: Floats) -> Floats:
        """Multiply the gradient (R, 3) by the estimated inverse Hessian."""
        z = gradient.copy()
        weights: list[Floats] = []
        for pair in reversed(self._pairs):
            inner = z[: len(pair.s)]
            weight = pair.inverse * rows.dot(pair.s, inner, len(pair.inverse))
            inner -= rows.spread(weight) * pair.y
            weights.append(weight)
        z *= _INVERSE_CURVATURE
        for pair in self._pairs:
            inner = z[: len(pair.s)]
            weight = weights.pop() - pair.inverse * rows.dot(pair.y, inner, len(pair.inverse))
            inner += rows.spread(weight) * pair.s
        return z
