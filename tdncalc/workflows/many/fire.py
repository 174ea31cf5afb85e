"""FIRE of many structures at once, each on the path that it takes alone."""

from __future__ import annotations

import numpy as np

from tdncalc.workflows.rows import Bools, Floats, Rows

_MAX_STEP = 0.2  # Å, of all atoms together
_DT, _MAX_DT, _GROW, _SHRINK = 0.1, 1.0, 1.1, 0.5
_MIXING, _MIXING_DECAY, _PATIENCE = 0.1, 0.99, 5


class ManyFIRE:
    """Steps of FIRE with the choices of ASE's, for structures that come and go.

    E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006). Each structure has its own time step,
    mixing and count of steps downhill.
    """

    def __init__(self) -> None:
        self._velocity = np.empty((0, 3))
        self._dt = np.empty(0)
        self._mixing = np.empty(0)
        self._downhill = np.empty(0)

    def takes(self, energy: Floats) -> Bools:
        """Tell that every place (B,) is one to go on from: FIRE turns downhill by itself."""
        return np.ones(len(energy), dtype=bool)

    def step(self, rows: Rows, x: Floats, gradient: Floats, energy: Floats) -> Floats:
        """Return the step to take, as :meth:`tdncalc.workflows.lbfgs.ManyLBFGS.step`."""
        known = len(self._dt)
        self._welcome(len(x), len(energy))
        self._turn(rows, -gradient, known)
        self._velocity -= rows.spread(self._dt) * gradient
        step = rows.spread(self._dt) * self._velocity
        length = np.sqrt(rows.dot(step, step))
        return np.asarray(step * rows.spread(_MAX_STEP / np.maximum(length, _MAX_STEP)))

    def keep(self, rows: Rows, kept: Bools) -> None:
        """Forget the structures that are not kept, mask (B,)."""
        by_row = np.repeat(kept, rows.counts)[: len(self._velocity)]
        self._velocity, kept = self._velocity[by_row], kept[: len(self._dt)]
        self._dt, self._mixing = self._dt[kept], self._mixing[kept]
        self._downhill = self._downhill[kept]

    def _welcome(self, n_rows: int, n_structures: int) -> None:
        n_new = n_structures - len(self._dt)
        self._velocity = np.pad(self._velocity, ((0, n_rows - len(self._velocity)), (0, 0)))
        self._dt = np.concatenate([self._dt, np.full(n_new, _DT)])
        self._mixing = np.concatenate([self._mixing, np.full(n_new, _MIXING)])
        self._downhill = np.concatenate([self._downhill, np.zeros(n_new)])

    def _turn(self, rows: Rows, forces: Floats, known: int) -> None:
        """Turn velocities downhill, and stop those that go uphill; the first step has none."""
        power = rows.dot(forces, self._velocity)
        speed = np.sqrt(rows.dot(self._velocity, self._velocity))
        size = np.sqrt(rows.dot(forces, forces))
        downhill = power > 0
        ratio = self._mixing * speed / np.where(size > 0, size, 1.0)
        turned = rows.spread(1 - self._mixing) * self._velocity + rows.spread(ratio) * forces
        self._velocity = np.where(rows.spread(downhill.astype(float)) > 0, turned, 0.0)
        faster = downhill & (self._downhill > _PATIENCE)
        uphill = ~downhill & (np.arange(len(power)) < known)
        self._dt[faster] = np.minimum(self._dt[faster] * _GROW, _MAX_DT)
        self._mixing[faster] *= _MIXING_DECAY
        self._dt[uphill] *= _SHRINK
        self._mixing[uphill] = _MIXING
        self._downhill = np.where(downhill, self._downhill + 1, 0.0)
