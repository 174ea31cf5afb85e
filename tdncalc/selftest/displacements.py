"""Ways to move the atoms and the cell of a structure."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

__all__ = ["contact", "shift", "strain", "turned"]

_Floats: TypeAlias = NDArray[np.float64]


def contact(positions: _Floats, direction: _Floats, cutoff: float) -> float | None:
    """Return the shift of a copy at which the last of its pairs leaves the cutoff, in Å."""
    between = positions[None, :, :] - positions[:, None, :]  # (N, N, 3)
    along = between @ direction
    room = cutoff**2 - ((between**2).sum(2) - along**2)
    return float((np.sqrt(room[room > 0]) - along[room > 0]).max()) if (room > 0).any() else None


def shift(atoms: Atoms, direction: _Floats) -> Callable[[float], Atoms]:
    """Return a function that moves a copy of the atoms by a multiple of the direction (N, 3)."""

    def move(amount: float) -> Atoms:
        moved: Atoms = atoms.copy()
        moved.positions += amount * direction
        return moved

    return move


def strain(atoms: Atoms, direction: _Floats) -> Callable[[float], Atoms]:
    """Return a function that strains a copy, cell and atoms, by a multiple of a matrix (3, 3)."""

    def move(amount: float) -> Atoms:
        moved: Atoms = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + amount * direction), scale_atoms=True)
        return moved

    return move


def turned(atoms: Atoms, q: _Floats) -> Atoms:
    """Return a copy of the atoms and their cell under an orthogonal matrix q (3, 3)."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ q.T)
    copy.positions = atoms.positions @ q.T
    return copy
