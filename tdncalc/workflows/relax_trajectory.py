"""The trajectory of a relaxation, and how a relaxation goes on from it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.workflows import traj_file
from tdncalc.workflows.claim import claim
from tdncalc.workflows.constraints import described
from tdncalc.workflows.subject import model_of, require_same_energy, require_same_model

if TYPE_CHECKING:
    from tdncalc.workflows.cell_modes import Problem

_LOG = logging.getLogger(__name__)


class RelaxTrajectory:
    """Every step of a relaxation in an ASE trajectory.

    An optimizer is a deterministic map of the energies and forces that it has seen. To resume, the
    recorded ones are handed to a fresh optimizer, which so comes to the state that it had.

    Parameters
    ----------
    path
        The file; None records nothing.
    problem
        Its model and constraints, and the settings that shape the path, must be the recorded ones.
    resume
        Replay what the file has.
    overwrite
        Replace an existing file.
    """

    def __init__(
        self, path: Path | None, problem: Problem, *, resume: bool, overwrite: bool
    ) -> None:
        self._path = path
        self._description = _description(problem)
        self._recorded: list[Atoms] = []
        self._file: traj_file.TrajectoryFile | None = None
        self._claim: BinaryIO | None = None
        if path is None or not path.exists():
            return
        if not (resume or overwrite):
            raise OutputError(f"{path} exists; overwrite it, resume from it, or choose another")
        self._claim = claim(path)
        if resume:
            try:
                self._take_up(path)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()
        if self._claim is not None:
            self._claim.close()

    def _take_up(self, path: Path) -> None:
        """Read what an earlier run left."""
        self._recorded, recorded_as = traj_file.read_frames(path)
        if self._recorded:
            _require_same_relaxation(recorded_as, self._description, path)
            # Whatever was half written when the run was killed goes.
            traj_file.cut_back(path, len(self._recorded))

    def has(self, step: int) -> bool:
        """Tell whether the file has that step."""
        return step < len(self._recorded)

    def replay(self, atoms: Atoms, step: int) -> None:
        """Give `atoms` the results recorded for `step`, if there is a later one to go on to.

        The last recorded step is left to the calculator, which shows whether it is the same.

        Raises
        ------
        CheckpointError
            The file begins with another structure.
        """
        if self.has(step) and not _same(atoms, self._recorded[step]):
            self._leave(step)
        if self.has(step + 1):
            atoms.calc = SinglePointCalculator(atoms, **self._recorded[step].calc.results)

    def require_same_energy(self, step: int, energy: float, n_atoms: int) -> None:
        """Refuse to go on from the recorded `step` with a calculator that gives another energy.

        Raises
        ------
        CheckpointError
            Names both energies.
        """
        if self.has(step):
            recorded = self._recorded[step].get_potential_energy()
            require_same_energy(f"step {step} of {self._path}", recorded, energy, n_atoms)

    def _leave(self, step: int) -> None:
        """Cut the recorded path off at `step`, where this machine takes another."""
        if step == 0 or self._path is None:
            raise CheckpointError(
                f"{self._path} begins with another structure than the one given; give the "
                "structure it began with, or start anew"
            )
        _LOG.warning("%s: leaves the recorded path at step %d", self._path, step)
        del self._recorded[step:]
        traj_file.cut_back(self._path, step)

    def write(self, frame: Callable[[], Atoms]) -> None:
        """Append a frame, which is made only if there is a file."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._open(self._path)
        self._file.write(frame())

    def _open(self, path: Path) -> traj_file.TrajectoryFile:
        if self._claim is None:
            self._claim = claim(path)
        if not self._recorded:
            with traj_file.writing(path):
                os.truncate(path, 0)
        return traj_file.TrajectoryFile(path, self._description)


def _description(problem: Problem) -> dict[str, Any]:
    settings = problem.settings
    return {
        "type": "relaxation",
        "optimizer": settings.optimizer,
        "cell": settings.cell,
        "pressure_GPa": settings.pressure_GPa,
        "fix_symmetry": settings.fix_symmetry,
        "constraints": described(problem.constraints),
        "model": model_of(problem.atoms.calc),
    }


def _require_same_relaxation(recorded: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    """Refuse the file of another relaxation; of an older version it lacks constraints and model."""
    settings = {name: asked[name] for name in asked if name not in ("constraints", "model")}
    require_same(recorded, settings, path)
    if recorded.get("constraints", asked["constraints"]) != asked["constraints"]:
        raise CheckpointError(
            f"{path} was made with other constraints than those given; resume with the same fixed "
            "atoms, or start anew"
        )
    require_same_model(str(path), recorded.get("model", {}), asked["model"])


def require_same(recorded: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    """Refuse to go on with other settings than those that a file was made with."""
    for name, value in asked.items():
        if recorded.get(name) != value:
            raise CheckpointError(
                f"{path} was made with {name}={recorded.get(name)!r}, not {value!r}; resume with "
                "the same, or start anew"
            )


def _same(a: Atoms, b: Atoms) -> bool:
    return bool(
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.pbc, b.pbc)
        and np.array_equal(a.positions, b.positions)
        and np.array_equal(a.cell.array, b.cell.array)
    )
