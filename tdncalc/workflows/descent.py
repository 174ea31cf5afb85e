"""Optimizers, one step at a time, and kept from climbing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from ase.constraints import FixAtoms, FixCom, FixInternals
from ase.optimize import BFGS, FIRE

from tdncalc.workflows.bonds import Frame
from tdncalc.workflows.cell_modes import free_strain
from tdncalc.workflows.lbfgs import ManyLBFGS
from tdncalc.workflows.relax_settings import OptimizerName
from tdncalc.workflows.rows import Rows
from tdncalc.workflows.uphill import MOST_TRIALS, RISE, shorter

if TYPE_CHECKING:
    from ase import Atoms
    from ase.filters import Filter
    from ase.optimize.optimize import Optimizer

    from tdncalc.workflows.cell_modes import Problem

_CLASSES: dict[OptimizerName, Callable[..., Optimizer]] = {"bfgs": BFGS, "fire": FIRE}
# SciPy warns of an error of 1e-13 in the logarithm of a strain.
_LOGARITHM = "logm result may be inaccurate"


@dataclass(frozen=True)
class _Place:
    """Where a descent was: coordinates and gradient (n,) as the optimizer sees them, and eV."""

    x: np.ndarray
    gradient: np.ndarray
    enthalpy: float


class Descent(Protocol):
    """Steps that go down."""

    def takes(self, enthalpy: float) -> bool:
        """Tell whether a place of that enthalpy, eV, is one to go on from."""

    def step(self, enthalpy: float) -> None:
        """Take one step from where the target is, given its enthalpy in eV."""


def descent(problem: Problem) -> Descent:
    """Return the way down that the settings of a problem name."""
    if problem.settings.optimizer == "lbfgs":
        return _OneOfMany(problem)
    return _ByASE(problem.target, problem.settings.optimizer)


class _OneOfMany:
    """L-BFGS of many structures with one."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._optimizer = ManyLBFGS(lambda _: self._frame())
        self._place = problem.target.__ase_optimizable__()  # type: ignore[no-untyped-call]
        self._rows = Rows(np.array([self._place.ndofs() // 3]))

    def takes(self, enthalpy: float) -> bool:
        """Tell whether a place of that enthalpy, eV, is one to go on from."""
        return bool(self._optimizer.takes(np.array([enthalpy]))[0])

    def step(self, enthalpy: float) -> None:
        """Take one step from where the target is, given its enthalpy in eV."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _LOGARITHM, RuntimeWarning)
            x = self._place.get_x().reshape(-1, 3)
            gradient = self._place.get_gradient().reshape(-1, 3)
            step = self._optimizer.step(self._rows, x, gradient, np.array([enthalpy]))
            self._keep(step)
            self._place.set_x((x + step).ravel())

    def _keep(self, step: np.ndarray) -> None:
        """Take out of a step what constraints of the whole took out of the forces.

        ASE moves atoms back in another way, after which a step need not go down the forces: with a
        center of mass, the whole; with FixInternals, which takes the rotation out of the forces
        also in a cell, nothing.
        """
        atoms = self._problem.atoms
        kinds = (FixCom, FixInternals) if atoms.pbc.any() else FixCom
        for constraint in atoms.constraints:
            if isinstance(constraint, kinds):
                constraint.adjust_forces(atoms, step[: len(atoms)])  # type: ignore[no-untyped-call]

    def _frame(self) -> Frame:
        atoms = self._problem.atoms
        fixed = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            if type(constraint) is FixAtoms:
                fixed[constraint.index] = True
        strain = free_strain(self._problem.settings.cell, len(atoms))
        return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, fixed, strain)


class _ByASE:
    """Steps of ASE's BFGS or FIRE that go down.

    BFGS comes without a line search, and may climb. A place that lies above the one before it is
    not taken: the step to it is shortened. FIRE turns downhill by itself.

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
        if self._taken is None or self._name != "bfgs":
            return True
        return enthalpy <= self._taken.enthalpy + RISE or self._trials == MOST_TRIALS

    def step(self, enthalpy: float) -> None:
        """Take one step from where the target is, given its enthalpy in eV."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _LOGARITHM, RuntimeWarning)
            if self.takes(enthalpy):
                self._take(enthalpy)
                self._optimizer.step()
            else:
                self._shorten(enthalpy)

    def _take(self, enthalpy: float) -> None:
        place = self._optimizer.optimizable
        forced = self._trials == MOST_TRIALS
        self._taken = _Place(place.get_x(), place.get_gradient(), enthalpy)
        self._trials = 0
        if forced:
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
