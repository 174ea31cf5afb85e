"""L-BFGS of many structures at once, each on the path that it takes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdncalc.workflows.descent import MOST_TRIALS, RISE, shorter
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
    is negative, and shortens a step that went uphill. Two-loop recursion: J. Nocedal, Math. Comput.
    35, 773 (1980). The structures are in the order in which they came, so that those that have an
    old pair are the first ones, and no row is multiplied in vain.
    """

    def __init__(self) -> None:
        self._pairs: list[_Pair] = []
        # Where each structure was when it last took a step that was no shortening of another.
        self._x = np.empty((0, 3))
        self._gradient = np.empty((0, 3))
        self._energy = np.empty(0)
        self._trials = np.empty(0, dtype=np.int64)

    def takes(self, energy: Floats) -> Bools:
        """Tell which structures (B,) are, at these energies, at a place to go on from."""
        taken = np.ones(len(energy), dtype=bool)
        n = len(self._energy)
        taken[:n] = (energy[:n] <= self._energy + RISE) | (self._trials == MOST_TRIALS)
        return taken

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
        taken = self.takes(energy)
        n = len(self._energy)
        backward = np.zeros_like(x)
        if n:
            known = len(self._x)
            self._learn(rows, x[:known], gradient[:known], taken[:n])
            if not taken.all():
                backward[:known] = self._backward(rows, x[:known], energy[:n])
        self._go_on(rows, x, gradient, energy, taken)
        step = -self._solve(rows, gradient)
        scale = _MAX_STEP / np.maximum(rows.longest(step), _MAX_STEP)
        by_row = np.repeat(taken, rows.counts)[:, None]
        return np.where(by_row, step * rows.spread(scale), backward)

    def keep(self, rows: Rows, kept: Bools) -> None:
        """Forget the structures that are not kept, mask (B,)."""
        by_row = np.flatnonzero(np.repeat(kept, rows.counts))
        structures = np.flatnonzero(kept)
        for pair in self._pairs:
            inner = by_row[: np.searchsorted(by_row, len(pair.s))]
            outer = structures[: np.searchsorted(structures, len(pair.inverse))]
            pair.s, pair.y, pair.inverse = pair.s[inner], pair.y[inner], pair.inverse[outer]
        self._drop_unused()
        known = by_row[: np.searchsorted(by_row, len(self._x))]
        self._x, self._gradient = self._x[known], self._gradient[known]
        outer = structures[: np.searchsorted(structures, len(self._energy))]
        self._energy, self._trials = self._energy[outer], self._trials[outer]

    def _learn(self, rows: Rows, x: Floats, gradient: Floats, taken: Bools) -> None:
        """Remember the last step of the known structures that took one."""
        s, y = x - self._x, gradient - self._gradient
        curvature = rows.dot(s, y, len(taken))
        misled = taken & ((curvature <= 0) | (self._trials == MOST_TRIALS))
        if misled.any():
            for pair in self._pairs:
                pair.inverse[misled[: len(pair.inverse)]] = 0.0
        believed = taken & ~misled
        inverse = np.where(believed, 1.0 / np.where(believed, curvature, 1.0), 0.0)
        self._pairs.append(_Pair(s, y, inverse))
        del self._pairs[:-_MEMORY]
        self._drop_unused()

    def _backward(self, rows: Rows, x: Floats, energy: Floats) -> Floats:
        """Return the steps that shorten the last ones of the known structures."""
        moved = x - self._x
        slope = rows.dot(self._gradient, moved, len(energy))
        part = shorter(slope, energy - self._energy - slope)
        return np.asarray((rows.spread(part) - 1.0) * moved)

    def _go_on(self, rows: Rows, x: Floats, gradient: Floats, energy: Floats, taken: Bools) -> None:
        """Go on from where structures are that have taken their step."""
        by_row = np.repeat(taken, rows.counts)
        left = ~by_row[: len(self._x)]
        old_x, old_gradient = self._x[left], self._gradient[left]
        self._x, self._gradient = x.copy(), gradient.copy()
        self._x[~by_row], self._gradient[~by_row] = old_x, old_gradient
        n = len(self._energy)
        trials = np.zeros(len(energy), dtype=np.int64)
        trials[:n] = np.where(taken[:n], 0, self._trials + 1)
        self._energy = np.concatenate([np.where(taken[:n], energy[:n], self._energy), energy[n:]])
        self._trials = trials

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
