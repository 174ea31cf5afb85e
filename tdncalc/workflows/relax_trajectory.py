"""The trajectory of a relaxation, and how a relaxation goes on from it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.workflows import traj_file
from tdncalc.workflows.relax_settings import RelaxSettings

_LOG = logging.getLogger(__name__)


class RelaxTrajectory:
    """Every step of a relaxation in an ASE trajectory.

    An optimizer is a deterministic map of the energies and forces that it has seen. To resume, the
    recorded ones are handed to a fresh optimizer, which so comes to the state that it had.

    Parameters
    ----------
    path
        The file; None records nothing.
    settings
        Those that shape the path must be the recorded ones.
    resume
        Replay what the file has.
    overwrite
        Replace an existing file.
    """

    def __init__(
        self, path: Path | None, settings: RelaxSettings, *, resume: bool, overwrite: bool
    ) -> None:
        self._path = path
        self._description = _description(settings)
        self._recorded: list[Atoms] = []
        self._file: traj_file.TrajectoryFile | None = None
        if path is None:
            return
        if resume:
            self._recorded, recorded_as = traj_file.read_frames(path)
            if self._recorded:
                _require_same(recorded_as, self._description, path)
                # Whatever was half written when the run was killed goes.
                traj_file.cut_back(path, len(self._recorded))
        elif path.exists() and not overwrite:
            raise OutputError(f"{path} exists; overwrite it, resume from it, or choose another")

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()

    def replays(self, atoms: Atoms, step: int) -> bool:
        """Give `atoms` the recorded results of `step`, if the file has that step.

        Raises
        ------
        CheckpointError
            The file begins with another structure.
        """
        if step >= len(self._recorded):
            return False
        frame = self._recorded[step]
        if _same(atoms, frame):
            atoms.calc = SinglePointCalculator(atoms, **frame.calc.results)
            return True
        if step == 0:
            raise CheckpointError(
                f"{self._path} begins with another structure than the one given; give the "
                "structure it began with, or start anew"
            )
        _LOG.warning("%s: leaves the recorded path at step %d", self._path, step)
        del self._recorded[step:]
        assert self._path is not None
        traj_file.cut_back(self._path, step)
        return False

    def write(self, frame: Atoms) -> None:
        """Append a frame."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._open(self._path)
        self._file.write(frame)

    def _open(self, path: Path) -> traj_file.TrajectoryFile:
        if not self._recorded:
            with traj_file.writing(path):
                path.unlink(missing_ok=True)
        return traj_file.TrajectoryFile(path, self._description)


def _description(settings: RelaxSettings) -> dict[str, Any]:
    return {
        "type": "relaxation",
        "optimizer": settings.optimizer,
        "cell": settings.cell,
        "pressure_GPa": settings.pressure_GPa,
        "fix_symmetry": settings.fix_symmetry,
    }


def _require_same(recorded: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
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
