"""Running means of a molecular dynamics run, which a checkpoint can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A slope through fewer frames than this says nothing.
_FEWEST_FRAMES = 10


@dataclass
class Statistics:
    """Sums over the steps (temperature) and over the frames (conserved quantity).

    Attributes
    ----------
    n_steps, temperatures
        Number of steps, and sum of their temperatures in K.
    n_frames
        Number of frames that had a conserved quantity.
    start
        Conserved quantity of the first of them, eV; the sums count from it, to keep their digits.
    t, tt, e, te
        Sums over the frames of time (ps), its square, conserved quantity (eV), and product.
    """

    n_steps: int = 0
    temperatures: float = 0.0
    n_frames: int = 0
    start: float = 0.0
    t: float = 0.0
    tt: float = 0.0
    e: float = 0.0
    te: float = 0.0

    def add_step(self, kelvin: float) -> None:
        """Count a step's temperature."""
        self.n_steps += 1
        self.temperatures += kelvin

    def add_conserved(self, time_ps: float, energy: float) -> None:
        """Count a frame's conserved quantity in eV."""
        if self.n_frames == 0:
            self.start = energy
        energy -= self.start
        self.n_frames += 1
        self.t += time_ps
        self.tt += time_ps**2
        self.e += energy
        self.te += time_ps * energy

    def mean_temperature(self) -> float:
        """Return the mean temperature in K."""
        return self.temperatures / max(self.n_steps, 1)

    def drift(self, n_atoms: int) -> float | None:
        """Return the slope of the conserved quantity in meV/atom/ps, by least squares."""
        n = self.n_frames
        spread = n * self.tt - self.t**2
        if n < _FEWEST_FRAMES or spread <= 0:
            return None
        return 1000 * (n * self.te - self.t * self.e) / spread / n_atoms

    def state(self) -> dict[str, Any]:
        """Return the sums."""
        return dataclasses.asdict(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up sums that `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)
