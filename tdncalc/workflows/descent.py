"""ASE's optimizers, one step at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
    "fire": FIRE,
    "bfgs": BFGS,
}
# A rise that rounding in a float32 model cannot explain.
RISE = 1e-3  # eV


class Descent:
    """Steps of an ASE optimizer, whose memory is dropped when it misleads.

    ASE's LBFGS believes every pair of steps and gradients, and walks uphill where the curvature
    is negative; here it starts afresh there, and where the energy rose. FIRE has its own cure, and
    BFGS uses the modulus of its curvatures.

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
        self._before: tuple[np.ndarray, np.ndarray, float] | None = None

    def step(self, enthalpy: float) -> None:
        """Take one step from where the target is, given its enthalpy in eV."""
        with warnings.catch_warnings():
            # SciPy warns of an error of 1e-13 in the logarithm of a strain.
            warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
            if self._name == "lbfgs" and self._misleads(enthalpy):
                self._optimizer = self._fresh()
            self._optimizer.step()

    def _misleads(self, enthalpy: float) -> bool:
        place = self._optimizer.optimizable
        x, gradient = place.get_x(), place.get_gradient()
        before, self._before = self._before, (x, gradient, enthalpy)
        if before is None:
            return False
        curvature = (x - before[0]) @ (gradient - before[1])
        return bool(curvature <= 0 or enthalpy > before[2] + RISE)

    def _fresh(self) -> Optimizer:
        return _CLASSES[self._name](self._target, logfile=None)
