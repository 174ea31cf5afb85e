"""One of many structures that are relaxed together."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from tdncalc import structures
from tdncalc.moving_batch import State
from tdncalc.moving_member import Member
from tdncalc.results import voigt
from tdncalc.workflows.many.measured import Measured
from tdncalc.workflows.relax import failure, verdict
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings, RelaxStep


class Relaxing:
    """A structure on its way to a minimum.

    Parameters
    ----------
    index
        What the caller calls it.
    given, atoms
        As it was given, and as Atoms with no constraints but FixAtoms.
    member
        Its neighbors.
    entered
        When it came, on the performance counter.

    Attributes
    ----------
    fixed
        Mask (N,) of the atoms that stay.
    has_volume
        Whether its cell has three vectors.
    steps
        Steps taken.
    done, failed
        Whether it has ended, and ended because its last step was bad.
    """

    def __init__(
        self,
        index: int,
        given: structures.AnyStructure,
        atoms: Atoms,
        member: Member,
        entered: float,
    ) -> None:
        self.index, self.atoms, self.member = index, atoms, member
        self._given, self._entered = given, entered
        self.fixed = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            self.fixed[constraint.index] = True
        self.has_volume = atoms.cell.rank == 3
        self.steps = 0
        self.done = self.failed = False
        self._first: tuple[RelaxStep, float] | None = None

    def end(self, measured: Measured, place: int, settings: RelaxSettings) -> str | None:
        """Tell why it ends where it is measured, or count another step."""
        if self._goes_on(measured, place, settings):
            self.steps += 1
            return None
        moves = settings.cell != "fixed"
        now = measured.step(place, self.steps, cell=moves, volume=self.has_volume)
        enthalpy = float(measured.enthalpy[place])
        first, start = self._first = self._first or (now, enthalpy)
        fault = failure(now, first)
        if fault is not None:
            self.failed = True
            return fault
        stress = measured.max_stress[place]
        if now.fmax < settings.fmax and stress < settings.max_stress:
            return verdict("converged", enthalpy - start)
        if self.steps >= settings.steps:
            return f"not converged in {self.steps} steps"
        self.steps += 1
        return None

    def _goes_on(self, measured: Measured, place: int, settings: RelaxSettings) -> bool:
        """Tell quickly, in the commonest case, that nothing has happened."""
        return (
            self._first is not None
            and not self.has_volume
            and self.steps < settings.steps
            and bool(settings.fmax <= measured.fmax[place] < np.inf)
            and bool(np.isfinite(measured.energy[place]))
        )

    def result(
        self, state: State, measured: Measured, place: int, own: slice, reason: str
    ) -> RelaxResult:
        """Make the result from where it is; `own` are its atoms in the state."""
        frame: Atoms = self.atoms.copy()
        frame.set_cell(state.cells[place], apply_constraint=False)
        frame.set_positions(state.positions[own], apply_constraint=False)
        energy = float(state.energy[place])
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "energies": state.energies[own].copy(),
            "forces": state.forces[own].copy(),
        }
        stress = None
        if self.has_volume and state.strain_gradient is not None:
            stress = voigt(torch.from_numpy(state.strain_gradient[place] / measured.volume[place]))
            results["stress"] = stress
        frame.calc = SinglePointCalculator(frame, **results)
        return RelaxResult(
            structure=structures.like(self._given, frame),
            atoms=frame,
            converged=reason == "converged",
            reason=reason,
            steps=self.steps,
            energy=energy,
            fmax=float(measured.fmax[place]),
            stress_GPa=None if stress is None else stress / units.GPa,
            seconds=time.perf_counter() - self._entered,
        )
