"""What decides whether relaxations end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units

from tdncalc.moving_state import State
from tdncalc.workflows.films import film_factor
from tdncalc.workflows.many.coordinates import free_parts
from tdncalc.workflows.relax_settings import RelaxSettings
from tdncalc.workflows.rows import Bools, Floats, Rows


@dataclass(frozen=True)
class Measured:
    """What decides about each of B structures, all (B,).

    Attributes
    ----------
    energy, enthalpy
        eV; the enthalpy is what is minimized.
    fmax
        Largest force after constraints, eV/Å.
    max_stress
        Largest component of stress plus pressure that may relax, eV/Å³; 0 for fixed cells, and of
        the film and not of its vacuum in the xy mode.
    volume
        Å³.
    """

    energy: Floats
    enthalpy: Floats
    fmax: Floats
    max_stress: Floats
    volume: Floats

    @classmethod
    def of(cls, state: State, fmax: Floats, settings: RelaxSettings, atoms: Rows) -> Measured:
        """Measure a state whose largest forces (B,) are known."""
        volume = np.abs(np.linalg.det(state.cells))
        max_stress = np.zeros(len(volume))
        if settings.cell != "fixed":
            max_stress = np.abs(free_parts(state, settings)).max(axis=(1, 2))
        if settings.cell == "xy":
            own = np.split(state.positions, atoms.starts[1:])
            max_stress *= [film_factor(*film) for film in zip(own, state.cells, strict=True)]
        enthalpy = state.energy + settings.pressure_GPa * units.GPa * volume
        return cls(state.energy, enthalpy, fmax, max_stress, volume)

    def take(self, kept: Bools) -> Measured:
        """Return the part of some structures, mask (B,)."""
        return Measured(**{name: values[kept] for name, values in vars(self).items()})

    def finite(self) -> Bools:
        """Tell where (B,) all that was measured is a number."""
        return np.asarray(np.isfinite(self.energy + self.fmax + self.max_stress))

    def converged(self, settings: RelaxSettings) -> Bools:
        """Tell where (B,) forces and the free part of the stress are below their limits."""
        return (self.fmax < settings.fmax) & (self.max_stress < settings.max_stress)
