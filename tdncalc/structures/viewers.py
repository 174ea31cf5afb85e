"""Trajectories for viewers (VMD, PyMOL, Mol*, nglview): DCD and XTC, written by chemfiles."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tdncalc.errors import OutputError

__all__ = ["VIEWER_FORMATS", "require_library", "write_viewer"]

VIEWER_FORMATS = {".dcd": "dcd", ".xtc": "xtc"}


def require_library() -> None:
    """Refuse early if the library is not there.

    Raises
    ------
    OutputError
        Says how to get it.
    """
    try:
        import chemfiles  # noqa: F401
    except ImportError as error:
        raise OutputError(
            ".dcd and .xtc files need the package chemfiles; pip install 'tdncalc[viewers]'"
        ) from error


def write_viewer(path: Path, frames: Iterable[Atoms]) -> None:
    """Write positions and cells; these formats hold nothing else.

    A cell is turned so that its first vector lies along x and its second in the xy plane, and the
    atoms with it: that is all the formats can say of its orientation.

    Parameters
    ----------
    path
        The ending says which format.
    frames
        Of one and the same molecule or crystal, at least one.

    Raises
    ------
    OutputError
        The frames have different atoms, a cell is left-handed, or the file cannot be written.
    """
    import chemfiles

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of it raises as well
            _write(chemfiles, path, frames)
    except chemfiles.ChemfilesError as error:  # which is no Exception
        raise OutputError(f"cannot be written ({error})") from error


def _write(chemfiles: Any, path: Path, frames: Iterable[Atoms]) -> None:  # noqa: ANN401
    numbers: np.ndarray | None = None
    with chemfiles.Trajectory(str(path), "w") as file:
        for step, atoms in enumerate(frames):
            if numbers is not None and not np.array_equal(atoms.numbers, numbers):
                raise OutputError(
                    f"frame {step} has other atoms than the first; .dcd and .xtc hold one system, "
                    ".extxyz any"
                )
            numbers = atoms.numbers
            file.write(_frame(chemfiles, atoms, step))


def _frame(chemfiles: Any, atoms: Atoms, step: int) -> Any:  # noqa: ANN401
    frame = chemfiles.Frame()
    frame.step = step
    frame.resize(len(atoms))
    positions = atoms.positions
    if atoms.cell.rank == 3:
        if atoms.cell.handedness < 0:
            raise OutputError("the cell is left-handed, which .dcd and .xtc cannot hold")
        turned, turn = atoms.cell.standard_form()
        positions = positions @ turn.T
        frame.cell = chemfiles.UnitCell(np.ascontiguousarray(turned.array.T))
    frame.positions[:] = positions
    return frame
