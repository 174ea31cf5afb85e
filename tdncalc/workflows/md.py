"""Molecular dynamics that can be stopped, killed and resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tdncalc import structures
from tdncalc.workflows.guards import Guards
from tdncalc.workflows.md_files import MDFiles, MDFrame, RunFiles
from tdncalc.workflows.md_run import MDStep, Run
from tdncalc.workflows.md_settings import (
    CELL_MOTIONS,
    ENSEMBLES,
    CellMotion,
    Ensemble,
    MDSettings,
    Ramp,
)
from tdncalc.workflows.subject import working_copy

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = [
    "CELL_MOTIONS",
    "ENSEMBLES",
    "CellMotion",
    "Ensemble",
    "Guards",
    "MDFiles",
    "MDFrame",
    "MDResult",
    "MDSettings",
    "MDStep",
    "Ramp",
    "run_md",
]


@dataclass(frozen=True)
class MDResult:
    """How a run ended.

    Attributes
    ----------
    structure
        The last good structure, of the type that was given.
    atoms
        The same as Atoms, with velocities, energy and forces.
    steps
        Steps taken, with those before a resume.
    reason
        "done", "stopped", or "guard: ...".
    temperature_K
        Mean over the steps.
    drift_meV_per_atom_per_ps
        Slope of the conserved quantity; None where the thermostat has none, or for a short run.
    seconds
        Wall time of this call.
    ns_per_day
        Speed of this call; 0 where there was nothing left to do.
    """

    structure: Any
    atoms: Atoms
    steps: int
    reason: str
    temperature_K: float
    drift_meV_per_atom_per_ps: float | None
    seconds: float
    ns_per_day: float


def run_md(
    x: structures.AnyStructure,
    *,
    settings: MDSettings,
    calculator: Calculator | None = None,
    files: MDFiles | None = None,
    resume: bool = False,
    observer: Callable[[MDStep], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> MDResult:
    """Run molecular dynamics of `x`, which itself is not changed.

    Velocities of `x` are kept; without any they are drawn at the temperature. The total momentum,
    and the rotation of a molecule, are taken away; from a model with direct forces, which push and
    turn the whole, at each step.

    Parameters
    ----------
    x
        An ASE Atoms, or a pymatgen Structure or Molecule.
    settings
        Ensemble, length and guards.
    calculator
        Any ASE calculator; else the one attached to `x`, else the bundled default model. What its
        attributes ``evaluation`` and ``model_identity`` (name, sha256, dispersion) say, if it has
        them, is kept in the checkpoint; a run is not resumed with another sha256 or dispersion.
    files
        Where to write; None writes nothing.
    resume
        Go on from the checkpoint as if the run had not been interrupted, bit by bit on one
        machine; `x` and `settings` are those of the start, but for the number of steps, the
        checkpoint interval and the guards. A run that has no files yet begins.
    observer
        Called after every step.
    stop
        Asked after every step; when it says true, a checkpoint is written and the run ends.

    Returns
    -------
    MDResult
        A guard that stops the run is a result, not an error.

    Raises
    ------
    StructureError
        `x` cannot be used.
    OptionError
        The structure cannot be simulated in that ensemble.
    OutputError
        A file exists already or cannot be written; the last checkpoint is intact.
    CheckpointError
        Nothing whole to resume from, or it belongs to another run.
    """
    began = time.perf_counter()
    atoms = working_copy(x, calculator)
    out = RunFiles(files, {"type": "molecular dynamics", **settings.binding()})
    with contextlib.closing(out):
        checkpoint = out.find_checkpoint() if resume else None
        run = Run(atoms, settings, out, checkpoint)
        reason = run.go(observer, stop)
    seconds = time.perf_counter() - began
    final = run.frame()
    simulated = (run.step - (checkpoint.step if checkpoint else 0)) * settings.timestep_fs
    return MDResult(
        structure=structures.like(x, final),
        atoms=final,
        steps=run.step,
        reason=reason,
        temperature_K=run.statistics.mean_temperature(),
        drift_meV_per_atom_per_ps=run.statistics.drift(len(atoms)),
        seconds=seconds,
        ns_per_day=simulated * 1e-6 / (seconds / 86400),
    )
