"""What decides whether relaxations end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units

from tdncalc.moving_batch import State
from tdncalc.workflows.many.coordinates import free_parts
from tdncalc.workflows.many.rows import Bools, Floats
from tdncalc.workflows.relax_settings import RelaxSettings, RelaxStep


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
        Largest component of stress plus pressure that may relax, eV/Å³; 0 for fixed cells.
    volume
        Å³.
    """

    energy: Floats
    enthalpy: Floats
    fmax: Floats
    max_stress: Floats
    volume: Floats

    @classmethod
    def of(cls, state: State, fmax: Floats, settings: RelaxSettings) -> Measured:
        """Measure a state whose largest forces (B,) are known."""
        volume = np.abs(np.linalg.det(state.cells))
        max_stress = np.zeros(len(volume))
        if settings.cell != "fixed":
            max_stress = np.abs(free_parts(state, settings)).max(axis=(1, 2))
        enthalpy = state.energy + settings.pressure_GPa * units.GPa * volume
        return cls(state.energy, enthalpy, fmax, max_stress, volume)

    def take(self, kept: Bools) -> Measured:
        """Return the part of some structures, mask (B,)."""
        return Measured(**{name: values[kept] for name, values in vars(self).items()})

    def step(self, place: int, steps: int, *, cell: bool, volume: bool) -> RelaxStep:
        """Return what an observer of one structure would see."""
        max_stress = float(self.max_stress[place]) / units.GPa
        return RelaxStep(
            step=steps,
            energy=float(self.energy[place]),
            fmax=float(self.fmax[place]),
            max_stress_GPa=max_stress if cell else None,
            volume=float(self.volume[place]) if volume else None,
        )
