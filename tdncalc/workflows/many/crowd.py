"""Structures that are being relaxed together, in one batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from ase import Atoms

from tdncalc import structures
from tdncalc.errors import TDNError
from tdncalc.moving_batch import MovingBatch
from tdncalc.moving_state import Placed, State
from tdncalc.potential import Potential
from tdncalc.workflows.bonds import Frame
from tdncalc.workflows.cell_modes import free_strain
from tdncalc.workflows.lbfgs import ManyLBFGS
from tdncalc.workflows.many.coordinates import Atomic, AtomicAndCell, Coordinates
from tdncalc.workflows.many.fire import ManyFIRE
from tdncalc.workflows.many.measured import Measured
from tdncalc.workflows.many.relaxing import Relaxing
from tdncalc.workflows.many.watch import ManyWatch, Step
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings
from tdncalc.workflows.rows import Rows
from tdncalc.workflows.tangles import perhaps_tangled, untangle

# Part of the batch that may be idle before it is made anew, which costs about as much.
_IDLE = 0.04


class Crowd:
    """Structures that are relaxed together; those that are done leave and others come.

    Parameters
    ----------
    potential
        The model.
    skin
        Å, of the neighbor lists.
    settings
        Of all relaxations; the optimizer is lbfgs or fire.
    """

    def __init__(self, potential: Potential, skin: float, settings: RelaxSettings) -> None:
        self._settings = settings
        self._batch = MovingBatch(potential, skin)
        self._coordinates: Coordinates = (
            Atomic() if settings.cell == "fixed" else AtomicAndCell(settings)
        )
        self._optimizer = ManyLBFGS(self._frame) if settings.optimizer == "lbfgs" else ManyFIRE()
        self._placed: Placed
        self._state: State
        self._faults: dict[int, TDNError]
        self._relaxing: list[Relaxing] = []
        self._new: list[Relaxing] = []
        self._atoms = Rows(np.empty(0, dtype=np.int64))
        self._fixed = np.empty(0, dtype=bool)
        self._strained = False
        self._watch = ManyWatch(settings)
        self._fmax = 0.0
        self._count = self._taken = self._largest = 0

    def __len__(self) -> int:
        """How many structures are being relaxed."""
        return self._count

    def hungry(self) -> bool:
        """Whether it is worth while to add structures."""
        return self._room() >= _IDLE * self._batch.budget

    def has_room(self) -> bool:
        """Whether another structure fits, as far as it is like the others."""
        return self._room() >= self._largest

    def add(self, index: int, given: structures.AnyStructure, atoms: Atoms) -> None:
        """Add a structure, which may have atoms fixed by FixAtoms, and untangle it.

        Raises
        ------
        StructureError
            The model cannot evaluate it.
        """
        member, moved = self._batch.member(atoms), None
        if perhaps_tangled(atoms.numbers, member.edge_index, member.distances()):
            moved = untangle(atoms)
            member = self._batch.member(atoms)
        self._new.append(Relaxing(index, given, atoms, member, time.perf_counter(), moved))
        self._count += 1
        self._taken += member.size
        self._largest = max(self._largest, member.size)

    def place(self) -> None:
        """Let those that are done leave and others come, and make all ready for `evaluate`."""
        self._change()
        self._placed = self._batch.place(*self._coordinates.place(), stress=self._strained)

    def evaluate(self) -> None:
        """Compute what `step` needs; another thread may do that, and meanwhile nothing else."""
        self._state, self._faults = self._batch.evaluate(self._placed)

    def step(self) -> Iterator[tuple[int, RelaxResult | TDNError]]:
        """Give those that are done with their index, and move the others."""
        state = self._state
        free = np.where(self._fixed[:, None], 0.0, state.forces)
        measured = Measured.of(state, self._atoms.longest(free), self._settings, self._atoms)
        now = Step(state, measured, np.array([one.steps for one in self._relaxing]))
        yield from self._leave(now, self._faults)
        idle = np.array([one.done for one in self._relaxing])
        self._fmax = float(np.where(idle, 0.0, measured.fmax).max())
        rows = self._coordinates.rows
        gradient = self._coordinates.gradient(replace(state, forces=free))
        gradient[np.repeat(idle, rows.counts)] = 0.0
        step = self._optimizer.step(rows, self._coordinates.x, gradient, measured.enthalpy)
        step[np.repeat(idle, rows.counts)] = 0.0
        self._coordinates.move(step)
        for one in self._relaxing:
            one.steps += 1

    @property
    def fmax(self) -> float:
        """The largest force of those that are being relaxed at the last step, eV/Å."""
        return self._fmax

    def _frame(self, place: int) -> Frame:
        """Return a structure as it is at this step."""
        own = slice(start := self._atoms.starts[place], start + self._atoms.counts[place])
        atoms, state = self._relaxing[place].atoms, self._state
        strain = free_strain(self._settings.cell, len(atoms))
        fixed = self._fixed[own]
        positions, cell = state.positions[own], state.cells[place]
        return Frame(atoms.numbers, positions, cell, atoms.pbc, fixed, strain)

    def _room(self) -> int:
        return self._batch.budget - self._taken

    def _change(self) -> None:
        """Let those that are done leave and others come, if that is worth while."""
        idle = sum(one.member.size for one in self._relaxing if one.done)
        total = sum(one.member.size for one in self._relaxing)
        if not self._new and idle <= _IDLE * total:
            return
        kept = np.array([not one.done for one in self._relaxing], dtype=bool)
        self._watch.keep(self._atoms, kept)
        self._optimizer.keep(self._coordinates.rows, kept)
        new = [one.atoms for one in self._new]
        self._coordinates.change(kept, [a.positions for a in new], [a.cell.array for a in new])
        self._batch.change(kept, [one.member for one in self._new])
        self._relaxing = [one for one in self._relaxing if not one.done] + self._new
        self._new = []
        self._atoms = Rows(self._batch.counts)
        self._fixed = np.concatenate([one.fixed for one in self._relaxing])
        # Lists that were searched anew have another size.
        sizes = [one.member.size for one in self._relaxing]
        self._taken, self._largest = sum(sizes), max(sizes, default=0)
        volume = any(one.has_volume for one in self._relaxing)
        self._strained = volume and not self._batch.potential.direct_forces

    def _leave(
        self, now: Step, faults: dict[int, TDNError]
    ) -> Iterator[tuple[int, RelaxResult | TDNError]]:
        """Give the results of those that end here."""
        taken = self._optimizer.takes(now.measured.enthalpy)
        atoms = [one.atoms for one in self._relaxing]
        known = 0 if self._watch.best is None else len(self._watch.best.counts)
        failures: dict[int, str | TDNError] = {
            **self._watch.failures(now, taken, atoms, self._atoms, self._batch.shortest),
            **faults,
        }
        sound = np.array([not one.done for one in self._relaxing])
        sound[list(failures)] = False
        self._watch.note(now, sound, self._atoms)
        above = self._watch.above_best(now)
        best = self._watch.best
        assert best is not None
        for place, end in {**self._watch.ends(now, taken), **failures}.items():
            one = self._relaxing[place]
            if one.done:
                continue
            one.done = True
            self._count -= 1
            self._taken -= one.member.size
            if isinstance(end, TDNError) and place >= known:
                yield one.index, end
                continue
            back = place < known if place in failures else above[place] and end != "converged"
            start = self._atoms.starts[place]
            own = slice(start, start + self._atoms.counts[place])
            yield one.index, one.result(best if back else now, place, own, str(end))
