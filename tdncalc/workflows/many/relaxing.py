"""One of many structures that are relaxed together."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ase import Atoms, units

from tdncalc import structures
from tdncalc.moving_member import Member
from tdncalc.workflows.many.watch import Step
from tdncalc.workflows.relax_settings import MovedApart, RelaxResult
from tdncalc.workflows.subject import with_results


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
    moved_apart
        What of it was moved before.

    Attributes
    ----------
    fixed
        Mask (N,) of the atoms that stay.
    has_volume
        Whether its cell has three vectors.
    steps
        Steps taken.
    done
        Whether it has ended.
    """

    def __init__(
        self,
        index: int,
        given: structures.AnyStructure,
        atoms: Atoms,
        member: Member,
        entered: float,
        moved_apart: MovedApart | None,
    ) -> None:
        self.index, self.atoms, self.member = index, atoms, member
        self._given, self._entered, self._moved_apart = given, entered, moved_apart
        self.fixed = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            self.fixed[constraint.index] = True
        self.has_volume = atoms.cell.rank == 3
        self.steps = 0
        self.done = False

    def result(self, step: Step, place: int, own: slice, reason: str) -> RelaxResult:
        """Make the result from where it is; `own` are its atoms in the state."""
        state = step.state
        frame: Atoms = self.atoms.copy()
        frame.set_cell(state.cells[place], apply_constraint=False)
        frame.set_positions(state.positions[own], apply_constraint=False)
        energy = float(state.energy[place])
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "energies": state.energies[own].copy(),
            "forces": state.forces[own].copy(),
            **state.novelty(own),
        }
        stress = None
        if self.has_volume and state.strain_gradient is not None:
            stress = state.stress(place)
            results["stress"] = stress
        with_results(frame, results)
        return RelaxResult(
            structure=structures.like(self._given, frame),
            atoms=frame,
            converged=reason == "converged",
            reason=reason,
            steps=self.steps,
            energy=energy,
            fmax=float(step.measured.fmax[place]),
            stress_GPa=None if stress is None else stress / units.GPa,
            seconds=time.perf_counter() - self._entered,
            moved_apart=self._moved_apart,
        )
