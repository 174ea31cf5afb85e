"""Energies of many structures, appended to an extxyz file as they are computed."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict

from tdncalc.cli.done import Done, digest
from tdncalc.cli.relax_stream import as_extxyz, open_at, tell_losses
from tdncalc.errors import CheckpointError
from tdncalc.structures.extxyz import writable
from tdncalc.workflows.traj_file import writing

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.structures import Source


class EnergyStream:
    """An extxyz file of structures with results; each says its input and its model.

    Parameters
    ----------
    path
        The file.
    model
        Name and sha256 of the model, and its dispersion if it has one.
    resume
        Whether to keep the whole frames that an earlier run left.

    Raises
    ------
    CheckpointError
        The file to resume has a frame that is not of this model.
    """

    def __init__(self, path: Path, model: dict[str, str], *, resume: bool) -> None:
        self._path, self._model = path, model
        self._size = 0
        self._done = Done(path, spelled=_as_read)
        self._file: BinaryIO | None = None
        if resume and path.exists():
            self._recall()

    def rest(self, sources: "Iterable[Source]") -> "Iterator[Source]":
        """Give the structures that are not in the file yet."""
        yield from self._done.rest(sources)

    def append(self, source: "Source", atoms: "Atoms") -> None:
        """Add a structure with its results."""
        atoms.info |= {
            "input": source.label,
            "input_digest": digest(source.atoms),
            "model_sha256": self._model["sha256"],
        }
        atoms.info.pop("model_dispersion", None)  # of what the input was computed with
        if "dispersion" in self._model:
            atoms.info["model_dispersion"] = self._model["dispersion"]
        frame = as_extxyz(atoms)
        tell_losses(self._path, source.label, atoms)
        with writing(self._path):
            if self._file is None:
                self._file = open_at(self._path, self._size)
            self._file.write(frame)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            # After a failed write the buffer is still full, and closing tries once more.
            with contextlib.suppress(OSError):
                self._file.close()

    def _recall(self) -> None:
        """Read what an earlier run has done, but for a frame that is not whole."""
        with self._path.open("rb") as file:
            try:
                for comment in _whole_frames(file):
                    said = key_val_str_to_dict(comment)
                    self._require_same(_word("model_sha256", comment), said.get("model_dispersion"))
                    label = str(said["input"])
                    self._done.add(label, _word("input_digest", comment))
                    self._size = file.tell()
            except (ValueError, KeyError) as error:
                if isinstance(error, CheckpointError):
                    raise
                raise CheckpointError(
                    f"{self._path}: not a file of energies that can be resumed ({error!r})"
                ) from error

    def _require_same(self, sha256: str | None, dispersion: object) -> None:
        """Refuse a frame of another model, or with another dispersion."""
        if sha256 != self._model["sha256"]:
            raise CheckpointError(
                f"{self._path} was made with another model; resume with that, or start anew"
            )
        if dispersion != (own := self._model.get("dispersion")):
            raise CheckpointError(
                f"{self._path} was made with {dispersion or 'no dispersion'}, not with "
                f"{own or 'none'}; resume with the same, or start anew"
            )


def _word(key: str, comment: str) -> str | None:
    """Return a value as it is written: a digest of digits and an e is no number."""
    found = re.search(rf"(?:^|\s){key}=(\S+)", comment)
    return None if found is None else found[1]


def _as_read(label: str) -> str:
    """Return a label as it comes back from a comment: a name may look like a number."""
    label = writable(" ".join(label.splitlines()))
    return str(key_val_str_to_dict(key_val_dict_to_str({"input": label}))["input"])


def _whole_frames(file: BinaryIO) -> Iterator[str]:
    """Give the comment of each frame whose last line is whole; the file then stands behind it."""
    while (count := file.readline()).endswith(b"\n"):
        comment = file.readline()
        last = comment
        for _ in range(int(count)):
            last = file.readline()
        if not last.endswith(b"\n"):
            return
        yield comment.decode()
