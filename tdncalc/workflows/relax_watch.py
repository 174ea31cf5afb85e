"""What of a relaxation's steps is good, and when there is no more to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdncalc.workflows.guards import closest_pair, novel
from tdncalc.workflows.uphill import RISE

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.workflows.cell_modes import Problem
    from tdncalc.workflows.relax_settings import RelaxStep

# A cell that changes its volume this much is falling apart, not relaxing.
VOLUME_RATIO = 8.0
# Nothing that a relaxation does on its way down; overheated FIRE does it on its way out.
EXPLOSION = 5.0  # eV/atom
NEAREST = 0.37  # Å, half of H2's bond
PATIENCE = 100  # steps
# Below these a step is no progress.
LOWER = 1e-6  # eV
SMALLER = 0.99
# Atoms that begin nearer than NEAREST may come nearer by this factor.
BEGAN = 0.99

NOT_FINITE = "energy, forces or stress are not finite"
SWOLLEN = f"the volume changed by more than a factor of {VOLUME_RATIO:g}"
SADDLE = "at a maximum or saddle, above the start"
OSCILLATES = (
    f"oscillates: neither energy nor force fell in the last {PATIENCE} steps; fmax is "
    "perhaps below the rounding of the model (float64 has less)"
)


def exploded(risen: float) -> str:
    """Say that the energy has risen by so many eV/atom."""
    return f"exploded: the energy rose by {risen:.3g} eV/atom"


def fallen(atoms: Atoms, pair: tuple[int, int, float]) -> str:
    """Say that two atoms are too near, at a distance in Å."""
    i, j, distance = pair
    return (
        f"{atoms.symbols[i]} (atom {i}) and {atoms.symbols[j]} (atom {j}) fell into each other, "
        f"{distance:.3f} Å apart"
    )


class Watch:
    """Keeps the lowest structure and tells what has gone wrong.

    Parameters
    ----------
    problem
        What is relaxed.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._first: RelaxStep | None = None
        self._good: tuple[np.ndarray, np.ndarray, RelaxStep] | None = None  # positions, cell
        self._fmax = np.inf
        self._progress_at = 0
        self._nearest = NEAREST

    @property
    def has_good(self) -> bool:
        """Whether there is a structure to return to."""
        return self._good is not None

    def failure(self, now: RelaxStep) -> str | None:
        """Tell why a step has left everything that a relaxation can mend."""
        if not np.isfinite([now.energy, now.fmax, now.max_stress_GPa or 0.0]).all():
            return NOT_FINITE
        if new := novel(self._problem.atoms, self._problem.settings.max_novelty):
            return f"guard: {new}"
        if self._first is None:
            return None
        if now.volume is None or self._first.volume is None:
            return None
        if not 1 / VOLUME_RATIO < now.volume / self._first.volume < VOLUME_RATIO:
            return SWOLLEN
        return None

    def runaway(self, now: RelaxStep) -> str | None:
        """Tell that a place to go on from is up in the sky or has two atoms in each other."""
        n_atoms = len(self._problem.atoms)
        risen = 0.0 if self._first is None else self._above(now, self._first) / n_atoms
        if risen > EXPLOSION:
            return exploded(risen)
        pair = closest_pair(self._problem.atoms, self._nearest)
        if pair is None:
            return None
        if self._first is None:
            self._nearest = BEGAN * pair[2]
            return None
        return fallen(self._problem.atoms, pair)

    def note(self, now: RelaxStep) -> None:
        """Remember a step that is sound."""
        self._first = self._first or now
        lower = self._good is None or self._above(now, self._good[-1]) < -LOWER
        if lower or now.fmax < SMALLER * self._fmax:
            self._progress_at = now.step
        if lower:
            atoms = self._problem.atoms
            self._good = atoms.positions.copy(), atoms.cell.array.copy(), now
        self._fmax = min(self._fmax, now.fmax)

    def below_start(self, now: RelaxStep) -> bool:
        """Tell whether a step is no higher than the first."""
        return self._first is None or self._above(now, self._first) <= RISE

    def stalled(self, now: RelaxStep) -> str | None:
        """Tell that neither energy nor force have fallen for long."""
        if now.step - self._progress_at < PATIENCE:
            return None
        return SADDLE if self._problem.converged(now) else OSCILLATES

    def best(self, now: RelaxStep) -> RelaxStep:
        """Return the step to end with: this one, or the lowest if this one lies above it."""
        if self._good is None or self._above(now, self._good[-1]) <= RISE:
            return now
        return self.back()

    def back(self) -> RelaxStep:
        """Return to the lowest structure."""
        assert self._good is not None
        positions, cell, measured = self._good
        atoms = self._problem.atoms
        atoms.set_cell(cell, apply_constraint=False)
        atoms.set_positions(positions, apply_constraint=False)
        return measured

    def _above(self, now: RelaxStep, then: RelaxStep) -> float:
        return self._problem.enthalpy(now) - self._problem.enthalpy(then)
