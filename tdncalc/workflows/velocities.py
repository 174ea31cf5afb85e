"""Velocities to start from, and how many of them are free."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom

from tdncalc.errors import StructureError
from tdncalc.workflows.md_constraints import free_axes, removed

_COLD = 1e-6  # K: velocities below are rounding


def require_movable(atoms: Atoms) -> None:
    """Raise a StructureError unless every mass is above 0 and every velocity finite."""
    masses = atoms.get_masses()
    moving = np.isfinite(masses) & (masses > 0)
    if not moving.all():
        index = int(np.argmin(moving))
        raise StructureError(
            f"{atoms.symbols[index]} (atom {index}) has a mass of {masses[index]:g} amu; molecular "
            "dynamics needs masses above 0, which set_masses gives"
        )
    if not np.isfinite(atoms.get_momenta()).all():
        raise StructureError("a velocity is not finite; give all, or none to draw them")


def translates(atoms: Atoms) -> bool:
    """Tell whether the center of mass of more than one atom moves freely."""
    return bool(free_axes(atoms).all())


def rotates(atoms: Atoms) -> bool:
    """Tell whether the whole rotates freely: a molecule, periodic nowhere."""
    if atoms.pbc.any():
        return False
    others: Atoms = atoms.copy()
    # a center of mass that is held lets the rest turn about it
    others.set_constraint([c for c in atoms.constraints if not isinstance(c, FixCom)])
    return translates(others)


def rotations(atoms: Atoms) -> int:
    """Return how many momenta the free rotation of the whole has; 0 of what does not rotate."""
    if not rotates(atoms):
        return 0
    return 2 if len(atoms) == 2 else 3


def degrees_of_freedom(atoms: Atoms, *, pushed: bool) -> int:
    """Return how many momenta are free when the total momentum is zero and stays so.

    Parameters
    ----------
    atoms
        The structure with its constraints.
    pushed
        The thermostat pushes single atoms: rotation of a molecule counts, and so does translation
        of the whole that is free along one or two axes only.
    """
    free = 3 * len(atoms) - removed(atoms)
    if translates(atoms) or not pushed:
        free -= int(free_axes(atoms).sum())
    if not pushed:
        free -= rotations(atoms)
    return max(free, 0)


def temperature(atoms: Atoms, free: int) -> float:
    """Return 2 K / (n k), kelvin, for `free` momenta n."""
    return float(2 * atoms.get_kinetic_energy() / (free * units.kB)) if free else 0.0


def still(atoms: Atoms) -> None:
    """Take away the total momentum, and the rotation of a molecule."""
    velocity = atoms.get_momenta().sum(axis=0) / atoms.get_masses().sum()
    atoms.set_velocities(atoms.get_velocities() - velocity * free_axes(atoms))
    if rotates(atoms):
        _stop_rotation(atoms)


def are_there(atoms: Atoms, free: int) -> bool:
    """Take away the motion of the whole, and tell whether more is left than of a mere drift."""
    if not atoms.get_momenta().any():
        return False
    still(atoms)
    return not temperature(atoms, free) < _COLD


def thermalize(atoms: Atoms, kelvin: float, free: int, rng: np.random.Generator) -> None:
    """Draw Maxwell-Boltzmann momenta, still the whole, and scale to `kelvin` exactly."""
    widths = np.sqrt(atoms.get_masses() * units.kB * kelvin)[:, None]
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * widths)
    still(atoms)
    drawn = temperature(atoms, free)
    if drawn > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(kelvin / drawn))


def _stop_rotation(atoms: Atoms) -> None:
    """Subtract ω × r with I ω = L; the pseudo-inverse leaves a linear molecule's axis alone."""
    arms = atoms.positions - atoms.get_center_of_mass()
    masses = atoms.get_masses()
    inertia = np.einsum("i,ij,ij->", masses, arms, arms) * np.eye(3)
    inertia -= np.einsum("i,ij,ik->jk", masses, arms, arms)
    angular = np.cross(arms, atoms.get_momenta()).sum(axis=0)
    omega = np.linalg.pinv(inertia, rcond=1e-10, hermitian=True) @ angular
    atoms.set_velocities(atoms.get_velocities() - np.cross(omega, arms))
