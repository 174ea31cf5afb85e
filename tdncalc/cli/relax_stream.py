"""Results of many relaxations, appended as each is done, so that a killed run loses one at most."""

import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import ase.io

from tdncalc.cards import IN_RECORDS
from tdncalc.cli.done import Done
from tdncalc.cli.failures import warn
from tdncalc.cli.outputs import as_json, is_streamed
from tdncalc.errors import CheckpointError, OptionError
from tdncalc.structures.extxyz import storable, writable
from tdncalc.structures.losses import what_is_lost
from tdncalc.workflows.claim import claim
from tdncalc.workflows.subject import require_same_model
from tdncalc.workflows.traj_file import writing

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.potential import Potential
    from tdncalc.structures import Source


class RelaxStream:
    """A file of relaxed structures and a table with one JSON object a line.

    A line of the table is written after its structure and says how long the file of structures is
    then: whatever lies behind the last whole line was cut off by a kill and is cut off here.

    Parameters
    ----------
    structures
        The extxyz file.
    table
        The JSON lines.
    resume
        Whether to keep what an earlier run left.

    Attributes
    ----------
    resumes
        Whether an earlier run is there to go on with.
    n_done, n_converged
        How many structures are in the table, and converged.
    """

    def __init__(self, structures: Path, table: Path, *, resume: bool) -> None:
        if not is_streamed(structures):
            raise OptionError(f"--output {structures}: several structures go to an .extxyz file")
        self.paths = (structures, table)
        self.resumes = resume and table.exists()
        self._sizes = (0, 0)
        self._done = Done(structures)
        self._models: list[dict[str, str]] = []
        self.n_done = self.n_converged = 0
        if self.resumes:
            self._recall(table)
        self._files: list[BinaryIO] = []
        self._model: dict[str, str] = {}

    def require_model(self, potential: "Potential") -> None:
        """Note the model of this run; refuse one that the earlier run did not use."""
        identity = potential.identity
        for recorded in self._models:
            require_same_model(str(self.paths[1]), recorded, identity)
        self._model = {IN_RECORDS[name]: value for name, value in identity.items()}

    def rest(self, sources: "Iterable[Source]") -> "Iterator[Source]":
        """Give the structures that are not done yet."""
        yield from self._done.rest(sources)

    def __enter__(self) -> Self:
        for path, size in zip(self.paths, self._sizes, strict=True):
            with writing(path):
                self._files.append(open_at(path, size))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files:
            # After a failed write the buffer is still full, and closing tries once more.
            with contextlib.suppress(OSError):
                file.close()

    def append(self, atoms: "Atoms", record: dict[str, Any]) -> None:
        """Add a relaxed structure and what is to be said of it."""
        atoms.info["input"] = record["input"]
        frame = as_extxyz(atoms)
        tell_losses(self.paths[0], record["input"], atoms)
        structures, table = self._files
        with writing(self.paths[0]):
            structures.write(frame)
            structures.flush()
        record = record | self._model | {"relaxed_bytes": structures.tell()}
        with writing(self.paths[1]):
            table.write(as_json(record).encode() + b"\n")
            table.flush()
        self._count(record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Read the objects of the table, those of an earlier run too."""
        with self.paths[1].open("rb") as file:
            for line in file:
                yield json.loads(line)

    def _count(self, record: dict[str, Any]) -> None:
        self.n_done += 1
        self.n_converged += bool(record["converged"])

    def _recall(self, table: Path) -> None:
        """Read what an earlier run has done, but for a line that is not whole."""
        structures = read = 0
        with table.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                record = _parse(table, line)
                self._count(record)
                self._done.add(record["input"], record.get("input_digest"))
                model = {name: record[key] for name, key in IN_RECORDS.items() if key in record}
                if model not in self._models:
                    self._models.append(model)
                structures, read = record["relaxed_bytes"], read + len(line)
        self._sizes = (structures, read)


def _parse(path: Path, line: bytes) -> dict[str, Any]:
    """Read a line of a table."""
    try:
        record: dict[str, Any] = json.loads(line)
        for name in ("input", "converged", "relaxed_bytes", "model_sha256", "model"):
            record[name]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a table that can be resumed ({error!r})") from error
    return record


def as_extxyz(atoms: "Atoms") -> bytes:
    """Write a structure as a frame of an extxyz file."""
    text = io.StringIO()
    ase.io.write(text, storable(atoms), format="extxyz")
    return writable(text.getvalue()).encode()


def tell_losses(path: Path, label: str, atoms: "Atoms") -> None:
    """Warn of what an extxyz file has no place for."""
    if lost := what_is_lost("extxyz", atoms):
        warn(f"{label}: {path.name} has no place for {', '.join(lost)}")


def open_at(path: Path, size: int) -> BinaryIO:
    """Claim a file to append behind its first bytes; what follows them is cut off."""
    file = claim(path)
    if file.tell() < size:
        file.close()
        raise CheckpointError(f"{path} is shorter than its table says; put it back, or start anew")
    os.truncate(path, size)
    file.seek(0, os.SEEK_END)
    return file
