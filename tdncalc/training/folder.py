"""The folder of a run, which one training at a time writes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdncalc.errors import CheckpointError
from tdncalc.locks import lock

__all__ = ["taken"]


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other trainings out of it for as long as the context lasts.

    Raises
    ------
    CheckpointError
        Another training is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # a folder cannot be opened
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        if not lock(place):
            raise CheckpointError(
                f"{folder}: another training is at work there; wait for its end, or name another "
                "folder"
            )
        yield
    finally:
        os.close(place)
