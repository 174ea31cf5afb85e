"""The trajectory, table and checkpoint of a molecular dynamics run."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ase import Atoms

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.workflows import md_checkpoint, traj_file
from tdncalc.workflows.claim import claim
from tdncalc.workflows.md_checkpoint import Checkpoint
from tdncalc.workflows.traj_file import writing


@dataclass(frozen=True)
class MDFiles:
    """Where a run leaves its frames, table and checkpoints.

    Attributes
    ----------
    trajectory
        ASE trajectory.
    csv
        One row for each frame.
    checkpoint
        The newest checkpoint; the one before lies beside it.
    overwrite
        Replace the files of an earlier run, unless it is resumed.
    """

    trajectory: Path
    csv: Path
    checkpoint: Path
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Make paths of texts."""
        for name in ("trajectory", "csv", "checkpoint"):
            object.__setattr__(self, name, Path(getattr(self, name)))

    def paths(self) -> tuple[Path, ...]:
        """Return every file that a run can leave."""
        older = md_checkpoint.previous(self.checkpoint)
        return self.trajectory, self.csv, self.checkpoint, older

    def has_checkpoint(self) -> bool:
        """Tell whether there is a run to go on with.

        One that is killed while it renames its checkpoint has only the one before.
        """
        return self.checkpoint.exists() or md_checkpoint.previous(self.checkpoint).exists()


@dataclass(frozen=True)
class MDFrame:
    """What a run measures at the interval; a row of the table.

    Attributes
    ----------
    step
        Steps taken.
    time_fs
        Simulated time.
    temperature_K
        Of the momenta that are free.
    potential_eV, kinetic_eV, total_eV
        Energies.
    pressure_GPa, volume_A3
        With the kinetic part; None unless periodic in three directions. The pressure is also None
        with constraints whose forces are missing from the stress, such as fixed bond lengths.
    max_force
        Largest force on an atom, eV/Å.
    novelty
        How unlike the model's training set the strangest atom is; None of a model without.
    """

    step: int
    time_fs: float
    temperature_K: float
    potential_eV: float
    kinetic_eV: float
    total_eV: float
    pressure_GPa: float | None
    volume_A3: float | None
    max_force: float
    novelty: float | None = None

    def row(self) -> str:
        """Return the line of the table; what the structure does not have is empty."""
        values = (getattr(self, name) for name in _FORMATS)
        cells = zip(values, _FORMATS.values(), strict=True)
        return ",".join("" if v is None else format(v, spec) for v, spec in cells) + "\n"


_FORMATS = {
    "step": "d",
    "time_fs": ".10g",
    "temperature_K": ".4f",
    "potential_eV": ".8f",
    "kinetic_eV": ".8f",
    "total_eV": ".8f",
    "pressure_GPa": ".6f",
    "volume_A3": ".6f",
    "max_force": ".6f",
    "novelty": ".4f",
}
_HEADER = ",".join(_FORMATS) + "\n"


class RunFiles:
    """The open files of a run; without `where` nothing is written.

    Parameters
    ----------
    where
        The paths.
    description
        Kept in the trajectory.
    """

    def __init__(self, where: MDFiles | None, description: dict[str, Any]) -> None:
        self._where = where
        self._description = description
        self._trajectory: traj_file.TrajectoryFile | None = None
        self._table: TextIO | None = None
        self._claim: BinaryIO | None = None

    def close(self) -> None:
        """Close what is open."""
        if self._claim is not None:
            self._claim.close()
        if self._trajectory is not None:
            self._trajectory.close()
        if self._table is not None:
            # After a failed write the buffer is still full, and closing tries once more.
            with contextlib.suppress(OSError):
                self._table.close()

    def find_checkpoint(self) -> Checkpoint | None:
        """Return what to resume from; None if the run was killed before it wrote anything.

        Raises
        ------
        CheckpointError
            There are files of a run and no checkpoint that is whole.
        """
        if self._where is None:
            raise CheckpointError("nothing to resume from: the run writes no files; name them")
        found = md_checkpoint.load(self._where.checkpoint)
        if found is None and self._where.trajectory.exists():
            raise CheckpointError(
                f"{self._where.checkpoint} is missing, and {self._where.trajectory} cannot be "
                "resumed without it; start anew"
            )
        return found

    def begin(self, checkpoint: Checkpoint) -> None:
        """Start a run: nothing of an earlier one is left but under a checkpoint of step 0.

        Raises
        ------
        OutputError
            A file exists and may not be overwritten, or cannot be written.
        """
        if self._where is None:
            return
        for path in self._where.paths():
            if path.exists() and not self._where.overwrite:
                raise OutputError(f"{path} exists; overwrite it, resume the run, or choose another")
        if self._where.csv.exists():
            self._claim = claim(self._where.csv)
        # The checkpoint comes first, so that from here on there is always one to resume from.
        md_checkpoint.previous(self._where.checkpoint).unlink(missing_ok=True)
        checkpoint.save(self._where.checkpoint)
        self.go_on(checkpoint)

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Cut trajectory and table back to a checkpoint, and open them.

        Raises
        ------
        CheckpointError
            They are shorter than the checkpoint says.
        OutputError
            They cannot be written, or another run is writing to them.
        """
        if self._where is None:
            return
        trajectory, table = self._where.trajectory, self._where.csv
        if self._claim is None:
            self._claim = claim(table)
        traj_file.cut_back(trajectory, checkpoint.frames)
        _cut_table(table, checkpoint.table_bytes)
        self._trajectory = traj_file.TrajectoryFile(trajectory, self._description)
        with writing(table):
            self._table = table.open("a", encoding="ascii", newline="")

    def write(self, frame: Atoms, measured: MDFrame) -> None:
        """Append a frame and its row."""
        if self._where is None or self._trajectory is None or self._table is None:
            return
        self._trajectory.write(frame)
        with writing(self._where.csv):
            self._table.write((_HEADER if self._table.tell() == 0 else "") + measured.row())
            self._table.flush()

    def sizes(self) -> tuple[int, int]:
        """Return the number of frames and the bytes of the table."""
        if self._trajectory is None or self._table is None:
            return 0, 0
        return len(self._trajectory), self._table.tell()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint of what is on the disk."""
        if self._where is None:
            return
        with writing(self._where.trajectory):
            traj_file.sync(self._where.trajectory)
            traj_file.sync(self._where.csv)
        checkpoint.save(self._where.checkpoint)


def _cut_table(path: Path, size: int) -> None:
    have = path.stat().st_size if path.exists() else 0
    if have < size:
        raise CheckpointError(
            f"{path} has {have} bytes where the checkpoint counts {size}; put the whole table "
            "back, or start anew"
        )
    if path.exists():
        with writing(path):
            os.truncate(path, size)
