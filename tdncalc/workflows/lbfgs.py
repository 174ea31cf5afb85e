"""L-BFGS of one or many structures at once, each on the path that it takes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tdncalc.workflows.bonds import Frame
from tdncalc.workflows.model_hessian import Solve, inverse_hessians
from tdncalc.workflows.rows import Bools, Floats, Rows
from tdncalc.workflows.uphill import MOST_TRIALS, RISE, shorter

_MEMORY = 20  # pairs of steps and gradients; 10 and 100 need as many steps
_MAX_STEP = 0.2  # Å, of any atom
# The model Hessian is made anew when an atom has moved so far.
_FAR = 0.2  # Å


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
    """Steps of L-BFGS that go down, for structures that come and go.

    It begins with the inverse of a model's Hessian (:mod:`tdncalc.workflows.model_hessian`), made
    anew as a structure moves; the pairs of steps and changes of the gradient are kept. Two-loop
    recursion: J. Nocedal, Math. Comput. 35, 773 (1980). A structure forgets its pairs where the
    curvature is negative. A place that lies above the one before it is not taken: the step to it is
    shortened.

    The structures are in the order in which they came, so that those that have an old pair are the
    first ones, and no row is multiplied in vain.

    Parameters
    ----------
    frame
        Gives a structure as it is now, by its place in that order.
    """

    def __init__(self, frame: Callable[[int], Frame]) -> None:
        self._frame = frame
        self._pairs: list[_Pair] = []
        # What multiplies by the inverse of each model Hessian, and where all were when it was made.
        self._solves: list[Solve] = []
        self._modelled = np.empty((0, 3))
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
        self._model(rows, x)
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
        self._modelled = self._modelled[known]
        self._solves = [solve for solve, keep in zip(self._solves, kept, strict=False) if keep]
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
            # Idle ones, which do not move, need no new model.
            lost = np.repeat(misled & (curvature != 0), rows.counts[: len(taken)])
            self._modelled[lost] = np.inf
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

    def _model(self, rows: Rows, x: Floats) -> None:
        """Make the model Hessians of structures that are new or have moved far."""
        n_known = len(self._solves)
        modelled = np.concatenate([self._modelled, x[len(self._modelled) :]])
        moved = np.abs(x - modelled).max(axis=1)
        far = np.maximum.reduceat(moved, rows.starts) > _FAR
        known = np.flatnonzero(far[:n_known])
        solves = inverse_hessians([self._frame(i) for i in [*known, *range(n_known, len(far))]])
        for place, solve in zip(known, solves, strict=False):
            self._solves[place] = solve
        self._solves += solves[len(known) :]
        self._modelled = np.where(np.repeat(far, rows.counts)[:, None], x, modelled)

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
        for solve, start, count in zip(self._solves, rows.starts, rows.counts, strict=True):
            z[start : start + count] = solve(z[start : start + count])
        for pair in self._pairs:
            inner = z[: len(pair.s)]
            weight = weights.pop() - pair.inverse * rows.dot(pair.y, inner, len(pair.inverse))
            inner += rows.spread(weight) * pair.s
        return z
