"""Files that one run at a time may write to."""

import fcntl
import logging
from pathlib import Path
from typing import BinaryIO

from tdncalc.errors import OutputError
from tdncalc.workflows.traj_file import writing

__all__ = ["claim"]

_LOG = logging.getLogger(__name__)


def claim(path: Path) -> BinaryIO:
    """Open a file to append to; until it is closed no other run can claim it.

    The claim ends with the process, however that ends. On a file system without locks every claim
    is granted.

    Raises
    ------
    OutputError
        Another run has it, or it cannot be written.
    """
    with writing(path):
        file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise OutputError(
            f"{path}: another run is writing to it; wait until it has ended, or choose another "
            "folder"
        ) from error
    except OSError:
        _LOG.debug("%s: its file system has no locks", path, exc_info=True)
    return file
