"""Structures that are being relaxed together, in one batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from ase import Atoms

from tdncalc import structures
from tdncalc.errors import TDNError
from tdncalc.moving_batch import MovingBatch, State
from tdncalc.potential import Potential
from tdncalc.workflows.many.coordinates import Atomic, AtomicAndCell, Coordinates
from tdncalc.workflows.many.fire import ManyFIRE
from tdncalc.workflows.many.lbfgs import ManyLBFGS
from tdncalc.workflows.many.measured import Measured
from tdncalc.workflows.many.relaxing import Relaxing
from tdncalc.workflows.many.rows import Rows
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings

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
        self._optimizer = ManyLBFGS() if settings.optimizer == "lbfgs" else ManyFIRE()
        self._relaxing: list[Relaxing] = []
        self._new: list[Relaxing] = []
        self._atoms = Rows(np.empty(0, dtype=np.int64))
        self._fixed = np.empty(0, dtype=bool)
        self._strained = False
        self._before: tuple[State, Measured] | None = None
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
        """Add a structure, which may have atoms fixed by FixAtoms.

        Raises
        ------
        StructureError
            The model cannot evaluate it.
        """
        member = self._batch.member(atoms)
        self._new.append(Relaxing(index, given, atoms, member, time.perf_counter()))
        self._count += 1
        self._taken += member.size
        self._largest = max(self._largest, member.size)

    def step(self) -> Iterator[tuple[int, RelaxResult | TDNError]]:
        """Evaluate all, give those that are done with their index, and move the others."""
        self._change()
        positions, cells = self._coordinates.place()
        state, faults = self._batch.compute(positions, cells, stress=self._strained)
        free = np.where(self._fixed[:, None], 0.0, state.forces)
        now = Measured.of(state, self._atoms.longest(free), self._settings)
        for place, end in self._ends(now, faults).items():
            yield self._relaxing[place].index, self._finish(place, (state, now), end)
        idle = np.array([one.done for one in self._relaxing])
        self._before = state, now
        free[np.repeat(idle, self._atoms.counts)] = 0.0
        gradient = self._coordinates.gradient(replace(state, forces=free))
        rows = self._coordinates.rows
        gradient[np.repeat(idle, rows.counts)] = 0.0
        enthalpy = np.where(idle, 0.0, now.enthalpy)
        self._coordinates.move(self._optimizer.step(rows, self._coordinates.x, gradient, enthalpy))

    @property
    def fmax(self) -> float:
        """The largest force of those that are being relaxed at the last step, eV/Å."""
        if self._before is None:
            return 0.0
        measured = zip(self._before[1].fmax, self._relaxing, strict=False)
        return max((float(fmax) for fmax, one in measured if not one.done), default=0.0)

    def _room(self) -> int:
        return self._batch.budget - self._taken

    def _change(self) -> None:
        """Let those that are done leave and others come, if that is worth while."""
        idle = sum(one.member.size for one in self._relaxing if one.done)
        total = sum(one.member.size for one in self._relaxing)
        if not self._new and idle <= _IDLE * total:
            return
        kept = np.array([not one.done for one in self._relaxing], dtype=bool)
        if self._before is not None:
            state, measured = self._before
            by_atom = np.repeat(kept, self._atoms.counts)
            self._before = state.take(by_atom, kept), measured.take(kept)
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

    def _ends(self, now: Measured, faults: dict[int, TDNError]) -> dict[int, str | TDNError]:
        """Tell which structures end here, and why; count the steps of the others."""
        ends: dict[int, str | TDNError] = dict(faults)
        for place, one in enumerate(self._relaxing):
            if one.done:
                ends.pop(place, None)
            elif place not in ends:
                reason = one.end(now, place, self._settings)
                if reason is not None:
                    ends[place] = reason
        return ends

    def _finish(
        self, place: int, now: tuple[State, Measured], end: str | TDNError
    ) -> RelaxResult | TDNError:
        """Make the result of a structure, of the step before where this one is bad."""
        one = self._relaxing[place]
        one.done = True
        self._count -= 1
        self._taken -= one.member.size
        before = self._before
        lost = isinstance(end, TDNError) or one.failed
        if lost and before is not None and place < len(before[1].fmax) and one.steps > 0:
            now = before
            one.steps -= 1
        elif isinstance(end, TDNError):
            return end
        start = self._atoms.starts[place]
        own = slice(start, start + self._atoms.counts[place])
        return one.result(*now, place, own, str(end))
