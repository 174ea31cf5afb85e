"""Nosé-Hoover chains, and the NVT ensemble that one makes of velocity Verlet.

ASE's own NoseHooverChainNVT thermostats 3 N momenta, though the total momentum and the rotation of
a molecule stay at rest: its internal temperature is too high, by half for a molecule of six atoms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from tdncalc.workflows.md_settings import MDSettings, Targets

# Fourth-order Suzuki-Yoshida weights; H. Yoshida, Phys. Lett. A 150, 262 (1990).
_OUTER = 1 / (2 - 2 ** (1 / 3))
_WEIGHTS = (_OUTER, 1 - 2 * _OUTER, _OUTER)


class Chain:
    """A Nosé-Hoover chain on a set of momenta; G. J. Martyna et al., Mol. Phys. 87, 1117 (1996).

    Parameters
    ----------
    free
        Number of momenta.
    thermal
        Temperature times Boltzmann's constant, eV.
    time
        Time constant, in ASE's unit.
    """

    def __init__(self, free: int, thermal: float, time: float) -> None:
        self._free = free
        self._time = time
        self._set(thermal)
        self._positions = [0.0, 0.0, 0.0]
        self._velocities = [0.0, 0.0, 0.0]
        self._work = 0.0

    def aim(self, thermal: float) -> None:
        """Take up another temperature; what that changes in the chain's energy counts as work."""
        before = self.energy()
        self._set(thermal)
        self._work += self.energy() - before

    def half_step(self, twice_kinetic: float, timestep: float) -> float:
        """Advance by half of `timestep`; return the factor by which the momenta change.

        Parameters
        ----------
        twice_kinetic
            Σ p²/m of the momenta before, eV.
        timestep
            The whole time step.
        """
        scale = 1.0
        links = len(self._masses)
        for weight in _WEIGHTS:
            step = weight * timestep / 2
            for link in reversed(range(links)):
                self._kick(link, twice_kinetic * scale**2, step / 2)
            scale *= math.exp(-step * self._velocities[0])
            for link in range(links):
                self._positions[link] += step * self._velocities[link]
                self._kick(link, twice_kinetic * scale**2, step / 2)
        return scale

    def energy(self) -> float:
        """Return the chain's part of the conserved quantity, eV."""
        kinetic = sum(m * v**2 / 2 for m, v in zip(self._masses, self._velocities, strict=True))
        potential = sum(t * x for t, x in zip(self._targets, self._positions, strict=True))
        return kinetic + potential - self._work

    def state(self) -> dict[str, Any]:
        """Return positions and velocities of the links, and the work of a moving target."""
        return {
            "positions": list(self._positions),
            "velocities": list(self._velocities),
            "work": float(self._work),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state` returned."""
        self._positions = list(state["positions"])
        self._velocities = list(state["velocities"])
        self._work = state["work"]

    def _set(self, thermal: float) -> None:
        # What twice the kinetic energy that drives a link should be.
        self._targets = [self._free * thermal, thermal, thermal]
        self._masses = [target * self._time**2 for target in self._targets]

    def _kick(self, link: int, twice_kinetic: float, step: float) -> None:
        """Advance the velocity of a link, drawn by what it cools and braked by the next link."""
        if link > 0:
            twice_kinetic = self._masses[link - 1] * self._velocities[link - 1] ** 2
        last = link == len(self._masses) - 1
        brake = 1.0 if last else math.exp(-step / 2 * self._velocities[link + 1])
        pull = (twice_kinetic - self._targets[link]) / self._masses[link]
        self._velocities[link] = (self._velocities[link] * brake + step * pull) * brake


class NoseHoover:
    """Velocity Verlet between two half steps of a Nosé-Hoover chain."""

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._atoms = atoms
        self._timestep = settings.timestep_fs * units.fs
        self._dynamics = VelocityVerlet(atoms, timestep=self._timestep)
        thermal = units.kB * settings.targets(0).temperature_K
        self._chain = Chain(free, thermal, settings.thermostat_time_fs * units.fs)

    def aim(self, targets: Targets) -> None:
        """Take up other targets."""
        self._chain.aim(units.kB * targets.temperature_K)

    def step(self) -> None:
        """Move the atoms by one time step."""
        self._scale()
        self._dynamics.step()
        self._scale()

    def heat(self) -> float:
        """Return what the chain has given, eV."""
        return -self._chain.energy()

    def state(self) -> dict[str, Any]:
        """Return the state of the chain."""
        return {"chain": self._chain.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the state of the chain."""
        self._chain.restore(state["chain"])

    def _scale(self) -> None:
        scale = self._chain.half_step(2 * self._atoms.get_kinetic_energy(), self._timestep)
        self._atoms.set_momenta(self._atoms.get_momenta() * scale)
