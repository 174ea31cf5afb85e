"""Files that one run at a time may write to."""

from pathlib import Path
from typing import BinaryIO

from tdncalc.errors import OutputError
from tdncalc.locks import lock
from tdncalc.workflows.traj_file import writing

__all__ = ["claim"]


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
    if lock(file.fileno()):
        return file
    file.close()
    raise OutputError(
        f"{path}: another run is writing to it; wait until it has ended, or choose another folder"
    )
