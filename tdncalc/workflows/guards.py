"""What stops a run that has left physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from tdncalc.workflows import _validation as check


@dataclass(frozen=True)
class Guards:
    """Limits on every step of a run; None lifts one.

    Attributes
    ----------
    max_temperature_K
        Highest temperature.
    max_force
        Largest force on an atom, eV/Å.
    min_distance
        Shortest distance of two atoms, Å; half of H2's bond.
    """

    max_temperature_K: float | None = 10000.0
    max_force: float | None = 200.0
    min_distance: float | None = 0.37

    def __post_init__(self) -> None:
        """Refuse what is outside the allowed."""
        limits = {
            "max_temperature_K": (self.max_temperature_K, "5000"),
            "max_force": (self.max_force, "100 (eV/Å)"),
            "min_distance": (self.min_distance, "0.5 (Å)"),
        }
        for name, (value, example) in limits.items():
            if value is not None:
                check.positive(name, value, example)

    def trips(self, atoms: Atoms, forces: np.ndarray, temperature_K: float) -> str | None:
        """Tell in a few words what is wrong with a step, or None.

        Parameters
        ----------
        atoms
            The structure after the step.
        forces
            (N, 3) forces on it, eV/Å.
        temperature_K
            Its temperature.
        """
        sizes = np.linalg.norm(forces, axis=1)
        if not (np.isfinite(sizes).all() and np.isfinite(temperature_K)):
            return "a force or velocity is not a number"
        worst = int(sizes.argmax())
        if self.max_force is not None and sizes[worst] > self.max_force:
            force = f"{sizes[worst]:.3g} eV/Å on {_name(atoms, worst)}"
            return f"the force of {force} is above {self.max_force:g}"
        if self.max_temperature_K is not None and temperature_K > self.max_temperature_K:
            return f"the temperature of {temperature_K:.0f} K is above {self.max_temperature_K:g}"
        pair = None if self.min_distance is None else closest_pair(atoms, self.min_distance)
        if pair is not None:
            i, j, distance = pair
            names = f"{_name(atoms, i)} and {_name(atoms, j)}"
            return f"{names} are {distance:.3f} Å apart, below {self.min_distance:g}"
        return None


def closest_pair(atoms: Atoms, limit: float) -> tuple[int, int, float] | None:
    """Return the closest two atoms and their distance in Å, if that is below `limit`.

    Meant for limits far below any bond, where a tree and the few images near a face are enough;
    an atom's own images are left out.
    """
    positions, owner = _with_images(atoms, limit)
    pairs = cKDTree(positions).query_pairs(limit, output_type="ndarray")
    distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    distances[owner[pairs[:, 0]] == owner[pairs[:, 1]]] = np.inf
    if not np.isfinite(distances).any():
        return None
    nearest = int(distances.argmin())
    i, j = sorted(int(owner[k]) for k in pairs[nearest])
    return i, j, float(distances[nearest])


def _with_images(atoms: Atoms, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (M, 3) wrapped into the cell with images above each face, and their atoms.

    An image is added for each atom within `margin` of a periodic face; M ≥ N.
    """
    owner = np.arange(len(atoms))
    positions = atoms.positions
    if not atoms.pbc.any():
        return positions, owner
    cell = atoms.cell.complete().array
    inverse = np.linalg.inv(cell)
    scaled = positions @ inverse
    scaled[:, atoms.pbc] %= 1.0
    margins = margin * np.linalg.norm(inverse, axis=0)  # of each face, in units of its height
    for axis in np.flatnonzero(atoms.pbc):
        near = scaled[:, axis] < margins[axis]
        images = scaled[near]
        images[:, axis] += 1.0
        scaled, owner = np.vstack([scaled, images]), np.concatenate([owner, owner[near]])
    return scaled @ cell, owner


def _name(atoms: Atoms, index: int) -> str:
    return f"{atoms.symbols[index]} (atom {index})"
