"""Weak coupling to a bath of heat and pressure, and what barostats share.

ASE's Berendsen integrator counts 3 N momenta, and evaluates forces and stress twice a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units

from tdncalc.workflows import velocities
from tdncalc.workflows.md_settings import MDSettings, Targets


def forces_and_pressure(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return forces (N, 3), eV/Å, and pressure (3, 3) of the potential alone, eV/Å³."""
    # Stress first: a calculator that computes it has the forces for nothing.
    pressure = -atoms.get_stress(voigt=False)
    return atoms.get_forces(md=True), pressure


def move(atoms: Atoms, positions: np.ndarray, strain: np.ndarray) -> None:
    """Give atoms the positions (N, 3), and the cell its rows times `strain` (3, 3)."""
    atoms.set_cell(atoms.cell.array @ strain)
    atoms.set_positions(positions)


def masses(atoms: Atoms) -> np.ndarray:
    """Return the masses as a column (N, 1), amu."""
    return np.asarray(atoms.get_masses()[:, None])


class Berendsen:
    """Weak coupling to a bath of heat and pressure.

    H. J. C. Berendsen et al., J. Chem. Phys. 81, 3684 (1984). It reaches temperature and pressure
    quickly and smoothly, but its fluctuations are those of no ensemble: equilibrate with it, and
    measure with another.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._atoms = atoms
        self._free = free
        self._timestep = settings.timestep_fs * units.fs
        self._thermostat = settings.timestep_fs / settings.thermostat_time_fs
        compressibility = settings.compressibility_per_GPa / units.GPa
        self._barostat = compressibility * settings.timestep_fs / settings.barostat_time_fs
        self.aim(settings.targets(0))

    def aim(self, targets: Targets) -> None:
        """Take up other targets."""
        self._kelvin = targets.temperature_K
        self._pressure = targets.pressure_GPa * units.GPa

    def step(self) -> None:
        """Move the atoms by one time step."""
        atoms, step = self._atoms, self._timestep
        forces, tensor = forces_and_pressure(atoms)
        pressure = float(np.trace(tensor)) / 3
        pressure += 2 * atoms.get_kinetic_energy() / (3 * atoms.get_volume())
        growth = 1 + self._barostat * (pressure - self._pressure)
        if not growth > 0:
            raise OverflowError
        scale = growth ** (1 / 3)
        momenta = atoms.get_momenta() + step / 2 * forces
        positions = scale * (atoms.positions + step * momenta / masses(atoms))
        move(atoms, positions, scale * np.eye(3))
        forces, _ = forces_and_pressure(atoms)
        atoms.set_momenta(momenta + step / 2 * forces)
        self._scale_momenta()

    def heat(self) -> None:
        """Return nothing: the heat is not followed."""

    def state(self) -> dict[str, Any]:
        """Return nothing: positions, momenta and cell are all there is."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up nothing."""

    def _scale_momenta(self) -> None:
        kelvin = velocities.temperature(self._atoms, self._free)
        if kelvin > 0:
            square = 1 + self._thermostat * (self._kelvin / kelvin - 1)
            # A start far from the target is not forced there in a few steps.
            scale = math.sqrt(min(max(square, 0.8), 1.25))
            self._atoms.set_momenta(self._atoms.get_momenta() * scale)
