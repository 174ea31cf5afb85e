"""ASE trajectory files written frame by frame, and cut back to their first frames."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ase.io.trajectory import Trajectory

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

# Layout of a ULM file (see ase.io.ulm), little-endian int64: at these bytes the number of frames
# and the place of the table of offsets, which holds 1, 42, 42², ... entries. The table is written
# anew behind the frame that outgrows it.
_COUNT_AT, _TABLE_AT, _FIRST_TABLE = 32, 40, 48
_GROWTH = 42


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write of `path` into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another "
            "folder, then resume"
        ) from error


def sync(path: Path) -> None:
    """Wait until what was written to `path` is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


class TrajectoryFile:
    """An ASE trajectory that grows by whole frames.

    Parameters
    ----------
    path
        The file; frames are appended to what is there.
    description
        Kept in the first frame.

    Raises
    ------
    OutputError
        The file cannot be written.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        with writing(path):
            self._writer: Any = Trajectory(path, "a")
        self._writer.set_description(description)
        self._whole = True

    def write(self, frame: Atoms) -> None:
        """Append a frame."""
        self._whole = False
        with writing(self.path):
            self._writer.write(frame)
        self._whole = True

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._writer)

    def close(self) -> None:
        """Close the file; what could not be written is lost, whole frames are not."""
        if self._whole:
            self._writer.close()
            return
        # Closing the writer would make a frame of what was written of one.
        with contextlib.suppress(OSError):
            self._writer.backend.fd.close()


def n_frames(path: Path) -> int:
    """Return how many whole frames a trajectory has: none if it is not there or not begun."""
    if not path.exists() or path.stat().st_size < _FIRST_TABLE:
        return 0
    with path.open("rb") as file:
        return _read_int(file, _COUNT_AT)


def cut_back(path: Path, frames: int) -> None:
    """Leave the first `frames` frames, byte by byte the file that ended there.

    Raises
    ------
    CheckpointError
        The trajectory has fewer frames.
    """
    have = n_frames(path)
    if have < frames:
        raise CheckpointError(
            f"{path} has {counted(have, 'frame')} where the checkpoint counts {frames}; put "
            "the whole trajectory back, or start anew"
        )
    if frames == 0:
        path.unlink(missing_ok=True)
        return
    with writing(path), path.open("r+b") as file:
        _truncate(file, frames)


def _truncate(file: BinaryIO, frames: int) -> None:
    entries = 1
    while entries < frames:
        entries *= _GROWTH
    # Written behind the frame that did not fit into the table before it.
    table = _FIRST_TABLE if entries == 1 else _aligned(_frame_end(file, entries // _GROWTH))
    file.truncate(max(_frame_end(file, frames - 1), table + 8 * entries))
    file.seek(table + 8 * frames)
    file.write(bytes(8 * (entries - frames)))
    _write_int(file, _TABLE_AT, table)
    _write_int(file, _COUNT_AT, frames)


def _frame_end(file: BinaryIO, index: int) -> int:
    start = _read_int(file, _read_int(file, _TABLE_AT) + 8 * index)
    return start + 8 + _read_int(file, start)


def _aligned(position: int) -> int:
    return -(-position // 8) * 8


def _read_int(file: BinaryIO, position: int) -> int:
    file.seek(position)
    return int.from_bytes(file.read(8), "little", signed=True)


def _write_int(file: BinaryIO, position: int, value: int) -> None:
    file.seek(position)
    file.write(value.to_bytes(8, "little", signed=True))


def read_frames(path: Path) -> tuple[list[Atoms], dict[str, Any]]:
    """Return the whole frames of a trajectory and its description.

    Raises
    ------
    CheckpointError
        The file is not an ASE trajectory.
    """
    if n_frames(path) == 0:
        return [], {}
    try:
        with Trajectory(path) as reader:
            return list(reader), dict(reader.description or {})
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a trajectory that can be resumed ({error})") from error
