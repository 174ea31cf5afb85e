"""Calculators of runs that wait for each other, so that their forces are computed together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import StructureError
from tdncalc.moving_batch import MovingBatch
from tdncalc.moving_state import State
from tdncalc.results import Properties

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.potential import Potential
    from tdncalc.workflows.rows import Floats


class Table:
    """A batch that is evaluated as soon as all who sit at it have said where they are.

    Each seat is asked by a thread of its own. A run that has ended must leave, or all others wait
    for it.

    Parameters
    ----------
    potential
        The model.
    skin
        Å, of the neighbor lists.
    structures
        Who sits there, checked; `seats` has a calculator for each.

    Raises
    ------
    StructureError
        The model cannot evaluate one of them.
    """

    def __init__(self, potential: Potential, skin: float, structures: Sequence[Atoms]) -> None:
        self._batch = MovingBatch(potential, skin)
        members = [self._batch.member(atoms) for atoms in structures]
        self._batch.change(np.empty(0, dtype=bool), members)
        self._full = [atoms.cell.rank == 3 for atoms in structures]
        self._sitting = list(range(len(structures)))
        self._asked: dict[int, tuple[Floats, Floats]] = {}
        self._answers: dict[int, Properties | Exception] = {}
        self._change = threading.Condition()
        self.seats = [Seat(self, place, potential) for place in range(len(structures))]

    def evaluate(self, place: int, positions: Floats, cell: Floats) -> Properties:
        """Wait for the others, and return the results of one; raises what is wrong with it."""
        with self._change:
            self._asked[place] = positions.copy(), cell.copy()
            self._serve_if_complete()
            self._change.wait_for(lambda: place in self._answers)
            answer = self._answers.pop(place)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def leave(self, place: int) -> None:
        """Let the others go on without one."""
        with self._change:
            kept = np.array([other != place for other in self._sitting], dtype=bool)
            self._sitting.remove(place)
            self._batch.change(kept, [])
            self._serve_if_complete()

    def _serve_if_complete(self) -> None:
        if not self._asked or len(self._asked) < len(self._sitting):
            return
        try:
            self._answers |= self._serve()
        except Exception as error:  # noqa: BLE001 - every thread raises it, or would wait for ever
            self._answers |= dict.fromkeys(self._sitting, error)
        self._asked.clear()
        self._change.notify_all()

    def _serve(self) -> dict[int, Properties | Exception]:
        asked = [self._asked[place] for place in self._sitting]
        positions = np.concatenate([positions for positions, _ in asked])
        cells = np.stack([cell for _, cell in asked])
        strained = not self._batch.potential.direct_forces
        state, faults = self._batch.compute(positions, cells, stress=strained)
        starts = np.cumsum(self._batch.counts) - self._batch.counts
        answers: dict[int, Properties | Exception] = {}
        for index, place in enumerate(self._sitting):
            own = slice(starts[index], starts[index] + len(asked[index][0]))
            fault = faults.get(index)
            stress = strained and self._full[place]
            answers[place] = fault or _results(state, index, own, stress=stress)
        return answers


class Seat(TDNCalculator):
    """The calculator of one who sits at a table."""

    def __init__(self, table: Table, place: int, potential: Potential) -> None:
        Calculator.__init__(self)
        self.potential = potential
        self._table, self._place = table, place
        self._lock = threading.RLock()
        if potential.direct_forces:
            self.implemented_properties = ["energy", "free_energy", "energies", "forces"]

    def for_a_run(self) -> Seat:
        """Return itself: nobody else sits there."""
        return self

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute everything together with the others."""
        Calculator.calculate(self, atoms, properties, system_changes)
        if self.atoms is None:
            raise StructureError("no atoms to compute; give calculate() an ase.Atoms")
        self.results = {}  # nothing old remains should this fail
        self.results = self._table.evaluate(
            self._place, self.atoms.positions, self.atoms.cell.array
        )


def _results(state: State, index: int, own: slice, *, stress: bool) -> Properties:
    energy = float(state.energy[index])
    results: Properties = {
        "energy": energy,
        "free_energy": energy,
        "energies": state.energies[own].copy(),
        "forces": state.forces[own].copy(),
        **state.novelty(own),
    }
    if stress:
        results["stress"] = state.stress(index)
    return results
