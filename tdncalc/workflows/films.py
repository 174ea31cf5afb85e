"""Vacuum in a cell: how thick it is, and what it does to a stress and to a barostat."""

import numpy as np
from ase import Atoms

__all__ = ["film_factor", "pressed_vacuum"]

_FILM = 3.0  # Å that the outermost atoms of a film take up
_VACUUM = 8.0  # Å without atoms: layers of crystals lie nearer
_VECTORS = ("first", "second", "third")


def film_factor(positions: np.ndarray, cell: np.ndarray) -> float:
    """Return by how much the stress in a film is above that of its cell, which the vacuum dilutes.

    The height of the cell along its third vector over the thickness of what is in it, the widest
    gap between the atoms being vacuum but for 3 Å; 1 where there is none.
    """
    height, gap = _height_and_gap(positions, cell, 2)
    return height / min(height - gap + _FILM, height)


def pressed_vacuum(atoms: Atoms) -> str | None:
    """Say that a barostat would close a layer without atoms; None where there is none."""
    for axis, vector in enumerate(_VECTORS):
        _, gap = _height_and_gap(atoms.positions, atoms.cell.array, axis)
        if gap > _VACUUM:
            return (
                f"{gap:.0f} Å along the {vector} cell vector hold no atoms, and the pressure "
                "closes or widens them; for a slab or a molecule choose nve or an nvt ensemble"
            )
    return None


def _height_and_gap(positions: np.ndarray, cell: np.ndarray, axis: int) -> tuple[float, float]:
    """Return the cell's height over two of its vectors and the widest gap between atoms there, Å.

    `axis` is the third vector, (3, 3) the cell, (N, 3) the positions.
    """
    area = np.cross(cell[axis - 2], cell[axis - 1])
    size = float(np.linalg.norm(area))
    height = abs(float(cell[axis] @ area)) / size
    along = np.sort((positions @ area / size) % height)
    gap = float(np.diff(along, append=along[0] + height).max())
    return height, gap
