"""The folder of a run, which one training at a time writes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdncalc.errors import CheckpointError

__all__ = ["taken"]


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other trainings out of it for as long as the context lasts.

    Nothing is left behind, also by a process that was killed. On Windows, and on file systems that
    know no locks, none is kept out.

    Raises
    ------
    CheckpointError
        Another training is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(place)
        raise CheckpointError(
            f"{folder}: another training is at work there; wait for its end, or name another folder"
        ) from error
    except OSError:  # no locks here
        pass
    try:
        yield
    finally:
        os.close(place)
