"""Integrators that move an isotropic cell at constant pressure.

They evaluate forces and stress once a step and count the momenta that are free; ASE's Berendsen
and Martyna-Tobias-Klein integrators evaluate them two or three times and count 3 N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from scipy.special import exprel

from tdncalc.workflows import velocities
from tdncalc.workflows.md_settings import MDSettings
from tdncalc.workflows.nose_hoover import Chain


def forces_and_pressure(atoms: Atoms) -> tuple[np.ndarray, float]:
    """Return forces (N, 3), eV/Å, and the pressure of the potential alone, eV/Å³."""
    # Stress first: a calculator that computes it has the forces for nothing.
    pressure = -float(atoms.get_stress()[:3].sum()) / 3
    return atoms.get_forces(md=True), pressure


def _move(atoms: Atoms, positions: np.ndarray, scale: float) -> None:
    atoms.set_cell(atoms.cell.array * scale)
    atoms.set_positions(positions)


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
        self._kelvin = settings.temperature_K
        self._pressure = settings.pressure_GPa * units.GPa
        self._thermostat = settings.timestep_fs / settings.thermostat_time_fs
        compressibility = settings.compressibility_per_GPa / units.GPa
        self._barostat = compressibility * settings.timestep_fs / settings.barostat_time_fs

    def step(self) -> None:
        """Move the atoms by one time step."""
        atoms, step = self._atoms, self._timestep
        forces, pressure = forces_and_pressure(atoms)
        pressure += 2 * atoms.get_kinetic_energy() / (3 * atoms.get_volume())
        scale = (1 + self._barostat * (pressure - self._pressure)) ** (1 / 3)
        momenta = atoms.get_momenta() + step / 2 * forces
        _move(atoms, scale * (atoms.positions + step * momenta / _masses(atoms)), scale)
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


class MartynaTobiasKlein:
    """NPT with an isotropic cell and Nosé-Hoover chains on particles and on cell.

    M. E. Tuckerman et al., J. Phys. A 39, 5629 (2006), with n free momenta::

        dr/dt = p/m + v r      dp/dt = F - (1 + 3/n) v p      dV/dt = 3 V v
        W dv/dt = 3 V (P - P₀) + (1 + 3/n) Σ p²/m             W = (n + 3) kT τ²

    P is the pressure of the potential alone; every equation carries the drag of a chain.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._atoms = atoms
        self._timestep = settings.timestep_fs * units.fs
        self._pressure = settings.pressure_GPa * units.GPa
        thermal = units.kB * settings.temperature_K
        self._coupling = 1 + 3 / free
        self._mass = (free + 3) * thermal * (settings.barostat_time_fs * units.fs) ** 2
        self._rate = 0.0  # v
        self._particles = Chain(free, thermal, settings.thermostat_time_fs * units.fs)
        self._cell = Chain(1, thermal, settings.barostat_time_fs * units.fs)

    def step(self) -> None:
        """Move the atoms by one time step."""
        atoms, step = self._atoms, self._timestep
        self._rate *= self._cell.half_step(self._mass * self._rate**2, step)
        self._scale_momenta()
        forces, pressure = forces_and_pressure(atoms)
        self._kick_cell(pressure)
        self._kick(forces)
        growth = self._rate * step
        drift = step * exprel(growth) * atoms.get_momenta() / _masses(atoms)
        _move(atoms, atoms.positions * math.exp(growth) + drift, math.exp(growth))
        forces, pressure = forces_and_pressure(atoms)
        self._kick(forces)
        self._kick_cell(pressure)
        self._scale_momenta()
        self._rate *= self._cell.half_step(self._mass * self._rate**2, step)

    def heat(self) -> float:
        """Return what chains and pressure have given, but for a constant, eV."""
        cell = self._mass * self._rate**2 / 2 + self._pressure * self._atoms.get_volume()
        return -float(cell + self._particles.energy() + self._cell.energy())

    def state(self) -> dict[str, Any]:
        """Return the cell's rate and both chains."""
        return {
            "rate": float(self._rate),
            "particles": self._particles.state(),
            "cell": self._cell.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the cell's rate and both chains."""
        self._rate = state["rate"]
        self._particles.restore(state["particles"])
        self._cell.restore(state["cell"])

    def _scale_momenta(self) -> None:
        scale = self._particles.half_step(2 * self._atoms.get_kinetic_energy(), self._timestep)
        self._atoms.set_momenta(self._atoms.get_momenta() * scale)

    def _kick(self, forces: np.ndarray) -> None:
        half = self._timestep / 2
        drag = self._coupling * self._rate * half
        momenta = self._atoms.get_momenta() * math.exp(-drag) + half * exprel(-drag) * forces
        self._atoms.set_momenta(momenta)

    def _kick_cell(self, pressure: float) -> None:
        work = 3 * self._atoms.get_volume() * (pressure - self._pressure)
        force = work + self._coupling * 2 * self._atoms.get_kinetic_energy()
        self._rate += self._timestep / 2 * float(force) / self._mass


def _masses(atoms: Atoms) -> np.ndarray:
    return np.asarray(atoms.get_masses()[:, None])
