"""A molecular dynamics run between two steps, as a file.

The file is one line, "tdncalc-md-checkpoint VERSION SHA256", and an npz archive that the checksum
is of. It holds no pickle. The one before is kept beside it under the name "...previous".
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tdncalc.errors import CheckpointError
from tdncalc.workflows.constraints import described
from tdncalc.workflows.md_settings import MDSettings
from tdncalc.workflows.traj_file import writing

_LOG = logging.getLogger(__name__)
_MAGIC = b"tdncalc-md-checkpoint 1 "
_ARRAYS = ("positions", "momenta", "cell")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step, frame and row depend on.

    Attributes
    ----------
    step
        Steps taken.
    positions, momenta, cell
        (N, 3), (N, 3), (3, 3), in ASE's units.
    energy
        Potential energy of that structure, eV: what the model of a resumed run must give.
    integrator, generator, statistics
        State of thermostat and barostat, of the random numbers, and of the running means.
    frames, table_bytes
        Size of the trajectory and of the CSV.
    settings, start
        What a resumed run must share: settings, and a fingerprint of the starting structure.
    evaluation
        What the calculator said of how it computes, if it said anything.
    model
        Name and sha256 of its model, if it said them.
    """

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    energy: float
    integrator: dict[str, Any]
    generator: dict[str, Any]
    statistics: dict[str, Any]
    frames: int
    table_bytes: int
    settings: dict[str, Any]
    start: dict[str, str]
    evaluation: str = ""
    model: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write beside `path`, keep the one before as previous, and rename.

        Raises
        ------
        OutputError
            The file cannot be written; the checkpoint that was there still is.
        """
        new = path.with_name(path.name + ".new")
        with writing(path):
            try:
                with new.open("wb") as file:
                    file.write(self._to_bytes())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                new.unlink(missing_ok=True)
                raise
            if path.exists():
                os.replace(path, previous(path))
            os.replace(new, path)

    def require_same_run(self, settings: MDSettings, start: Mapping[str, str]) -> None:
        """Refuse to resume with other settings or from another structure, by name.

        Raises
        ------
        CheckpointError
            Names what differs.
        """
        for name, value in settings.binding().items():
            if self.settings.get(name) != value:
                raise CheckpointError(
                    f"the checkpoint was made with {name}={self.settings.get(name)!r}, not "
                    f"{value!r}; resume with the same, or start anew"
                )
        for name, value in start.items():
            if self.start.get(name) != value:
                raise CheckpointError(
                    f"the checkpoint belongs to another structure: its {name} differ; give the "
                    "structure that the run began with, or start anew"
                )

    def _to_bytes(self) -> bytes:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arrays = {name: fields.pop(name) for name in _ARRAYS}
        archive = io.BytesIO()
        np.savez(archive, rest=np.array(json.dumps(fields)), **arrays)
        payload = archive.getvalue()
        return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload

    @classmethod
    def _from_bytes(cls, data: bytes) -> Checkpoint:
        head, _, payload = data.partition(b"\n")
        if head != _MAGIC + hashlib.sha256(payload).hexdigest().encode():
            raise ValueError("incomplete or changed since it was written")
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
            return cls(**arrays, **json.loads(str(archive["rest"])))


def previous(path: Path) -> Path:
    """Return where the checkpoint before the one at `path` is kept."""
    return path.with_name(path.name + ".previous")


def load(path: Path, *, quiet: bool = False) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None where there never was one.

    A warning tells of falling back to the one before, unless `quiet`.

    Raises
    ------
    CheckpointError
        There are checkpoints, and each is damaged.
    """
    faults = []
    for candidate in (path, previous(path)):
        try:
            checkpoint = Checkpoint._from_bytes(candidate.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            faults.append(f"{candidate} is damaged ({error})")
            continue
        if candidate != path and not quiet:
            said = "; ".join(faults) or f"{path} is missing"
            _LOG.warning("%s: resuming from %s, step %d", said, candidate, checkpoint.step)
        return checkpoint
    if faults:
        raise CheckpointError("; ".join(faults) + "; start anew")
    return None


def fingerprint(atoms: Atoms) -> dict[str, str]:
    """Return digests of what makes a starting structure."""
    parts = {
        "numbers": atoms.numbers.astype("<i8"),
        "masses": atoms.get_masses(),
        "positions": atoms.positions,
        "cell and pbc": np.append(atoms.cell.array, atoms.pbc),
        "velocities": atoms.get_momenta(),
    }
    digests = {k: hashlib.sha256(v.tobytes()).hexdigest()[:16] for k, v in parts.items()}
    digests["constraints"] = described(atoms.constraints)
    return digests
