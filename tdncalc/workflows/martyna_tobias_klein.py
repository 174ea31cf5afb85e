"""The isothermal-isobaric ensemble of a cell that grows, stretches along its axes, or shears.

ASE's Martyna-Tobias-Klein integrators thermostat 3 N momenta, though the total momentum stays at
rest, and evaluate forces and stress two or three times a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from scipy.linalg import polar
from scipy.special import exprel

from tdncalc.workflows.barostats import forces_and_pressure, masses, move
from tdncalc.workflows.md_settings import CellMotion, MDSettings, Targets
from tdncalc.workflows.nose_hoover import Chain

# In how many directions a cell moves, and what it follows of a force (3, 3) on it.
_MOTIONS: dict[CellMotion, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "isotropic": (1, lambda force: np.eye(3) * (np.trace(force) / 3)),
    "anisotropic": (3, lambda force: np.diag(np.diag(force))),
    "full": (6, lambda force: (force + force.T) / 2),
}


class MartynaTobiasKlein:
    """NPT with a moving cell, and Nosé-Hoover chains on particles and on cell.

    G. J. Martyna, D. J. Tobias and M. L. Klein, J. Chem. Phys. 101, 4177 (1994), for n free
    momenta, a cell h of rows, and its rate v, a symmetric matrix::

        dr/dt = p/m + r v      dp/dt = F - p v - (tr v / n) p      dh/dt = h v
        W dv/dt = V (P - P₀) + Σ (p p + p² / n) / m                W = (n + 3) kT τ² / 3

    P is the pressure tensor of the potential alone; every equation carries the drag of a chain.
    An isotropic cell follows a third of the trace of the force on v and an anisotropic one its
    diagonal. The step is that of M. E. Tuckerman et al., J. Phys. A 39, 5629 (2006), along the
    eigenvectors of v. Such a v turns nothing, but a strain that goes around in a circle does, as a
    cat that falls: each step turns everything back, so that the cell is a symmetric matrix times
    the cell at the start.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._atoms = atoms
        self._free = free
        self._timestep = settings.timestep_fs * units.fs
        self._time = settings.barostat_time_fs * units.fs
        directions, self._follow = _MOTIONS[settings.cell]
        self._turns = settings.cell == "full"
        self._reference = np.array(atoms.cell.array)
        start = settings.targets(0)
        self._set(start)
        self._rate = np.zeros((3, 3))  # v
        thermal = units.kB * start.temperature_K
        self._particles = Chain(free, thermal, settings.thermostat_time_fs * units.fs)
        self._cell = Chain(directions, thermal, self._time)
        self._work = 0.0

    def aim(self, targets: Targets) -> None:
        """Take up other targets; what that changes in the cell's energy counts as work."""
        before = self._energy()
        self._set(targets)
        self._work += self._energy() - before
        self._particles.aim(units.kB * targets.temperature_K)
        self._cell.aim(units.kB * targets.temperature_K)

    def step(self) -> None:
        """Move the atoms by one time step."""
        self._scale_rate()
        self._scale_momenta()
        forces, pressure = forces_and_pressure(self._atoms)
        self._kick_cell(pressure)
        self._kick(forces)
        self._drift()
        forces, pressure = forces_and_pressure(self._atoms)
        self._kick(forces)
        self._kick_cell(pressure)
        self._scale_momenta()
        self._scale_rate()

    def heat(self) -> float:
        """Return what chains and pressure have given, but for a constant, eV."""
        cell = self._energy() - self._work
        return -float(cell + self._particles.energy() + self._cell.energy())

    def state(self) -> dict[str, Any]:
        """Return the cell's rate and start, both chains, and the work of moving targets."""
        return {
            "rate": self._rate.tolist(),
            "reference": self._reference.tolist(),
            "work": float(self._work),
            "particles": self._particles.state(),
            "cell": self._cell.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._rate = np.array(state["rate"])
        self._reference = np.array(state["reference"])
        self._work = state["work"]
        self._particles.restore(state["particles"])
        self._cell.restore(state["cell"])

    def _set(self, targets: Targets) -> None:
        self._pressure = targets.pressure_GPa * units.GPa
        self._mass = (self._free + 3) * units.kB * targets.temperature_K * self._time**2 / 3

    def _energy(self) -> float:
        """Return the cell's kinetic energy, and its potential energy under the pressure."""
        volume = float(self._atoms.get_volume())
        return self._twice_kinetic() / 2 + self._pressure * volume

    def _twice_kinetic(self) -> float:
        return self._mass * float((self._rate**2).sum())

    def _scale_rate(self) -> None:
        self._rate *= self._cell.half_step(self._twice_kinetic(), self._timestep)

    def _scale_momenta(self) -> None:
        scale = self._particles.half_step(2 * self._atoms.get_kinetic_energy(), self._timestep)
        self._atoms.set_momenta(self._atoms.get_momenta() * scale)

    def _kick(self, forces: np.ndarray) -> None:
        half = self._timestep / 2
        rates, axes = _principal(self._rate)
        drag = half * (rates + rates.sum() / self._free)  # along each axis
        momenta = self._atoms.get_momenta() @ axes * _exp(-drag)
        momenta += half * exprel(-drag) * (forces @ axes)
        self._atoms.set_momenta(momenta @ axes.T)

    def _kick_cell(self, pressure: np.ndarray) -> None:
        momenta = self._atoms.get_momenta()
        flow = momenta.T @ (momenta / masses(self._atoms))  # Σ p p / m
        force = self._atoms.get_volume() * (pressure - self._pressure * np.eye(3))
        force += flow + np.eye(3) * np.trace(flow) / self._free
        self._rate += self._timestep / 2 * self._follow(force) / self._mass

    def _drift(self) -> None:
        atoms, step = self._atoms, self._timestep
        rates, axes = _principal(self._rate)
        growth = step * rates
        velocities = atoms.get_momenta() / masses(atoms)
        positions = atoms.positions @ axes * _exp(growth)
        positions += step * exprel(growth) * (velocities @ axes)
        strain = axes * _exp(growth) @ axes.T
        if self._turns:
            deformation = np.linalg.solve(self._reference, atoms.cell.array @ strain)
            back = polar(deformation, side="left")[0].T
            strain, axes = strain @ back, back.T @ axes
            atoms.set_momenta(atoms.get_momenta() @ back)
            self._rate = (axes * rates) @ axes.T
        move(atoms, positions @ axes.T, strain)


def _principal(rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (3,) of a symmetric matrix and its eigenvectors as columns (3, 3)."""
    if not np.isfinite(rate).all():
        raise OverflowError("the rate of the cell is not a number")
    rates, axes = np.linalg.eigh(rate)
    return rates, axes


def _exp(rates: np.ndarray) -> np.ndarray:
    """Return the exponentials of three rates; numpy's own would be infinite and warn."""
    return np.array([math.exp(rate) for rate in rates])
