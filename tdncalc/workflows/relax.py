"""Relax a structure, and its cell, to the nearest minimum of energy or enthalpy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError

from tdncalc import structures
from tdncalc.errors import StructureError
from tdncalc.wording import counted
from tdncalc.workflows.cell_modes import Problem, pose
from tdncalc.workflows.constraints import gave_up, meet
from tdncalc.workflows.descent import Descent, descent
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings, RelaxStep
from tdncalc.workflows.relax_trajectory import RelaxTrajectory
from tdncalc.workflows.relax_watch import Watch
from tdncalc.workflows.subject import has_stress, working_copy
from tdncalc.workflows.tangles import untangle

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = ["RelaxResult", "RelaxSettings", "RelaxStep", "relax"]

_DEFAULTS = RelaxSettings()


def relax(
    x: structures.AnyStructure,
    *,
    calculator: Calculator | None = None,
    settings: RelaxSettings = _DEFAULTS,
    trajectory: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: Callable[[RelaxStep], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> RelaxResult:
    """Relax `x`; constraints on it are met and kept, and `x` itself is not changed.

    Parameters
    ----------
    x
        An ASE Atoms, or a pymatgen Structure or Molecule.
    calculator
        Any ASE calculator; else the one attached to `x`, else the bundled default model.
    settings
        Convergence, optimizer and cell.
    trajectory
        An ASE trajectory file for every step.
    resume
        Go on where `trajectory` ends. The path is the one that an uninterrupted run takes, bit by
        bit: recorded steps are replayed through the optimizer from the file, without the
        calculator. Without the file the relaxation begins.
    overwrite
        Replace an existing trajectory.
    observer
        Called after every step that is not a replayed one.
    stop
        Asked before every step; when it says true the relaxation ends with reason "stopped".

    Returns
    -------
    RelaxResult
        Not converging is a result, not an error.

    Raises
    ------
    StructureError
        `x` cannot be used.
    OptionError
        The cell cannot be relaxed as asked.
    OutputError
        The trajectory exists already or cannot be written.
    CheckpointError
        `resume` with the trajectory of another relaxation.
    """
    start = time.perf_counter()
    atoms = working_copy(x, calculator)
    calculator = atoms.calc
    problem = pose(atoms, settings)
    moved_apart = untangle(atoms)
    meet(atoms)
    path = None if trajectory is None else Path(trajectory)
    record = RelaxTrajectory(path, problem, resume=resume, overwrite=overwrite)
    with contextlib.closing(record):
        last, steps, reason = _descend(problem, record, observer, stop)
    # Of the last good structure, and by the calculator, whatever was evaluated last.
    atoms.calc = calculator
    stress = _stress(atoms)
    atoms.get_forces()
    final = problem.frame()
    return RelaxResult(
        structure=structures.like(x, final),
        atoms=final,
        converged=reason == "converged",
        reason=reason,
        steps=steps,
        energy=last.energy,
        fmax=last.fmax,
        stress_GPa=None if stress is None else stress / units.GPa,
        seconds=time.perf_counter() - start,
        moved_apart=moved_apart,
    )


def _stress(atoms: Atoms) -> np.ndarray | None:
    """Return the stress (6,); some calculators, as tblite's, have it of crystals only."""
    if not has_stress(atoms):
        return None
    try:
        return np.asarray(atoms.get_stress())
    except PropertyNotImplementedError:
        return None


def _descend(
    problem: Problem,
    record: RelaxTrajectory,
    observer: Callable[[RelaxStep], None] | None,
    stop: Callable[[], bool] | None,
) -> tuple[RelaxStep, int, str]:
    """Step until something ends it; leave the last good structure in the problem's atoms.

    Return that step, how many were taken, and why there were no more.
    """
    atoms, calculator = problem.atoms, problem.atoms.calc
    way = descent(problem)
    watch = Watch(problem)
    step = 0
    while True:
        atoms.calc = calculator
        record.replay(atoms, step)
        try:
            now = problem.measure(step)
        except StructureError as error:
            if not watch.has_good:
                raise
            return watch.back(), step, str(error)
        record.require_same_energy(step, now.energy, len(atoms))
        taken = way.takes(problem.enthalpy(now))
        failure = watch.failure(now) or (watch.runaway(now) if taken else None)
        if failure is not None:
            return watch.back() if watch.has_good else now, step, failure
        watch.note(now)
        if not record.has(step):
            record.write(problem.frame)
            if observer is not None:
                observer(now)
        reason = None
        if not record.has(step + 1):  # a looser limit ends no path before its record does
            if taken and problem.converged(now) and watch.below_start(now):
                return now, step, "converged"
            reason = _end(problem, now, watch, stop)
        reason = reason or _step(way, problem, now)
        if reason is not None:
            return watch.best(now), step, reason
        step += 1


def _step(way: Descent, problem: Problem, now: RelaxStep) -> str | None:
    """Take a step; tell why there is none."""
    try:
        way.step(problem.enthalpy(now))
    except (ValueError, RuntimeError) as error:
        if not (problem.atoms.constraints and gave_up(error)):
            raise
        return f"its constraints could not be kept ({error})"
    return None


def _end(
    problem: Problem, now: RelaxStep, watch: Watch, stop: Callable[[], bool] | None
) -> str | None:
    """Tell why a relaxation ends that has not converged."""
    if now.step >= problem.settings.steps:
        return f"not converged in {counted(now.step, 'step')}"
    stalled = watch.stalled(now)
    if stalled is not None:
        return f"not converged in {counted(now.step, 'step')}: {stalled}"
    return "stopped" if stop is not None and stop() else None
