"""ASE's optimizers, one step at a time, and kept from climbing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.optimize import BFGS, FIRE, LBFGS

from tdncalc.workflows.relax_settings import OptimizerName

if TYPE_CHECKING:
    from ase import Atoms
    from ase.filters import Filter
    from ase.optimize.optimize import Optimizer

_CLASSES: dict[OptimizerName, Callable[..., Optimizer]] = {
    "lbfgs": LBFGS,
    "bfgs": BFGS,
    "fire": FIRE,
}
_NEWTON: tuple[OptimizerName, ...] = ("lbfgs", "bfgs")
# A rise that rounding in a float32 model cannot explain.
RISE = 1e-3  # eV
# Shortened this often, a step is a thousandth of what it was: then the energy does not follow the
# forces (direct forces, a jump of the potential), and the place is taken as it is.
MOST_TRIALS = 5


@dataclass(frozen=True)
class _Place:
    """Where a descent was: coordinates and gradient (n,) as the optimizer sees them, and eV."""

    x: np.ndarray
    gradient: np.ndarray
    enthalpy: float


def shorter(slope: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Return what part of steps to take that went uphill.

    Parameters
    ----------
    slope, bend
        Of the energy along each step, as slope t + bend t² at its part t, eV.
    """
    curved = np.where(bend > 0, bend, 1.0)
    return np.where(bend > 0, np.clip(-slope / (2 * curved), 0.1, 0.5), 0.25)


class Descent:
    """Steps of an ASE optimizer that go down.

    Quasi-Newton steps come without a line search, and climb where the curvature is negative. A
    place that lies above the one before it is not taken: the step to it is shortened, to where a
    parabola through both energies and the slope has its minimum (J. Nocedal and S. J. Wright,
    *Numerical Optimization*, 2nd ed., Eq. 3.58). LBFGS forgets what it has learned where the
    curvature along a step is negative; BFGS uses the modulus of its curvatures. FIRE turns
    downhill by itself.

    Parameters
    ----------
    target
        What moves: the atoms, or a filter of atoms and cell.
    name
        The optimizer.
    """

    def __init__(self, target: Atoms | Filter, name: OptimizerName) -> None:
        self._target = target
        self._name = name
        self._optimizer = self._fresh()
        self._taken: _Place | None = None
        self._trials = 0

    def takes(self, enthalpy: float) -> bool:
        """Tell whether a place of that enthalpy, eV, is one to go on from."""
        if self._taken is None or self._name not in _NEWTON:
            return True
        return enthalpy <= self._taken.enthalpy + RISE or self._trials == MOST_TRIALS

    def step(self, enthalpy: float) -> None:
        """Take one step from where the target is, given its enthalpy in eV."""
        with warnings.catch_warnings():
            # SciPy warns of an error of 1e-13 in the logarithm of a strain.
            warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
            if self.takes(enthalpy):
                self._take(enthalpy)
                self._optimizer.step()
            else:
                self._shorten(enthalpy)

    def _take(self, enthalpy: float) -> None:
        place = self._optimizer.optimizable
        before, forced = self._taken, self._trials == MOST_TRIALS
        self._taken = _Place(place.get_x(), place.get_gradient(), enthalpy)
        self._trials = 0
        if before is None or self._name not in _NEWTON:
            return
        moved, changed = self._taken.x - before.x, self._taken.gradient - before.gradient
        if forced or (self._name == "lbfgs" and moved @ changed <= 0):
            self._optimizer = self._fresh()

    def _shorten(self, enthalpy: float) -> None:
        """Go back to between the last place taken and this one."""
        assert self._taken is not None
        place = self._optimizer.optimizable
        moved = place.get_x() - self._taken.x
        slope = float(self._taken.gradient @ moved)
        bend = enthalpy - self._taken.enthalpy - slope
        part = float(shorter(np.array(slope), np.array(bend)))
        place.set_x(self._taken.x + part * moved)
        self._trials += 1

    def _fresh(self) -> Optimizer:
        return _CLASSES[self._name](self._target, logfile=None)
