"""What stops a run that has left physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from tdncalc.errors import OptionError
from tdncalc.model_warnings import novelties
from tdncalc.structures.checks import complete_cell
from tdncalc.workflows import _validation as check
from tdncalc.workflows.fragments import Molecules

_EVERY = 20  # steps between looks for lost pieces, which have some way to go
_NAMED = 5  # atoms of a piece


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
    max_volume_ratio
        Most that the cell may grow or shrink against the start.
    max_gap
        Å; how far a piece of a molecule may get from everything else.
    max_novelty
        Largest novelty of an atom, for a model that has it. None by default: hot molecules of the
        training set itself come above 1 now and then, and a strange start may be on its way to
        where it is not. Of that there is a warning.
    """

    max_temperature_K: float | None = 10000.0
    max_force: float | None = 200.0
    min_distance: float | None = 0.37
    max_volume_ratio: float | None = 4.0
    max_gap: float | None = 5.0
    max_novelty: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is outside the allowed."""
        limits = {
            "max_temperature_K": (self.max_temperature_K, "5000"),
            "max_force": (self.max_force, "100 (eV/Å)"),
            "min_distance": (self.min_distance, "0.5 (Å)"),
            "max_volume_ratio": (self.max_volume_ratio, "4"),
            "max_gap": (self.max_gap, "5 (Å)"),
            "max_novelty": (self.max_novelty, "3"),
        }
        for name, (value, example) in limits.items():
            if value is not None:
                check.positive(name, value, example)
        if self.max_volume_ratio is not None and not self.max_volume_ratio > 1:
            raise OptionError(
                f"max_volume_ratio={self.max_volume_ratio:g}: must be above 1, for instance 4"
            )

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
            kelvin = f"{temperature_K:.0f}" if temperature_K < 1e7 else f"{temperature_K:.3g}"
            return f"the temperature of {kelvin} K is above {self.max_temperature_K:g}"
        pair = None if self.min_distance is None else closest_pair(atoms, self.min_distance)
        if pair is not None:
            i, j, distance = pair
            names = f"{_name(atoms, i)} and {_name(atoms, j)}"
            return f"{names} are {distance:.3f} Å apart, below {self.min_distance:g}"
        return novel(atoms, self.max_novelty)


class Watch:
    """The guards of one run, of which some compare with how it began.

    Parameters
    ----------
    guards
        The limits.
    start
        The structure at step 0.
    """

    def __init__(self, guards: Guards, start: Atoms) -> None:
        self._guards = guards
        self._volume = float(start.get_volume()) if start.cell.rank == 3 else None
        self._molecules = None if guards.max_gap is None else Molecules(start)

    def trips(
        self, atoms: Atoms, forces: np.ndarray, temperature_K: float, step: int
    ) -> str | None:
        """Tell in a few words what is wrong with a step, or None; see :meth:`Guards.trips`."""
        fault = self._guards.trips(atoms, forces, temperature_K) or self._swollen(atoms)
        if fault is None and step % _EVERY == 0:
            fault = self._lost(atoms)
        return fault

    def _swollen(self, atoms: Atoms) -> str | None:
        limit = self._guards.max_volume_ratio
        if limit is None or self._volume is None:
            return None
        volume = float(atoms.get_volume())
        if 1 / limit <= volume / self._volume <= limit:
            return None
        how = "grew" if volume > self._volume else "shrank"
        return (
            f"the volume {how} from {self._volume:.4g} to {volume:.4g} Å³, by more than the factor "
            f"{limit:g} of max_volume_ratio"
        )

    def _lost(self, atoms: Atoms) -> str | None:
        gap = self._guards.max_gap
        if gap is None or self._molecules is None:
            return None
        lost = self._molecules.lost(atoms, gap)
        if lost is None:
            return None
        names = ", ".join(_name(atoms, int(index)) for index in lost[:_NAMED])
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        return f"{names}{more} left the molecule: nothing else within the {gap:g} Å of max_gap"


def novel(atoms: Atoms, limit: float | None) -> str | None:
    """Tell which atom has a novelty above a limit, by the results of the calculator; or None."""
    found = novelties(atoms)
    if limit is None or found is None or not found.max() > limit:
        return None
    worst, n_beyond = int(found.argmax()), int((found > limit).sum())
    more = f" (and of {n_beyond - 1} more)" if n_beyond > 1 else ""
    return (
        f"the novelty {found[worst]:.3g} of {_name(atoms, worst)}{more} is above the {limit:g} of "
        "max_novelty"
    )


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
    cell = complete_cell(atoms.cell.array, atoms.pbc)
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
