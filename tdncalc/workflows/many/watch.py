"""What of the steps of many relaxations is good, and when there is no more to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from tdncalc.moving_state import State
from tdncalc.wording import counted
from tdncalc.workflows.guards import closest_pair
from tdncalc.workflows.many.measured import Measured
from tdncalc.workflows.relax_settings import RelaxSettings
from tdncalc.workflows.relax_watch import (
    BEGAN,
    EXPLOSION,
    LOWER,
    NEAREST,
    NOT_FINITE,
    OSCILLATES,
    PATIENCE,
    SADDLE,
    SMALLER,
    SWOLLEN,
    VOLUME_RATIO,
    exploded,
    fallen,
)
from tdncalc.workflows.rows import Bools, Floats, Rows
from tdncalc.workflows.uphill import RISE


@dataclass(frozen=True)
class Step:
    """Where B structures are at a step.

    Attributes
    ----------
    state, measured
        What the model says of them.
    counts
        Steps that each has taken, (B,).
    """

    state: State
    measured: Measured
    counts: np.ndarray

    def take(self, atoms: Bools, kept: Bools) -> Step:
        """Return the part of some structures and their atoms, masks (N,) and (B,)."""
        return Step(self.state.take(atoms, kept), self.measured.take(kept), self.counts[kept])


class ManyWatch:
    """Keeps the lowest place of each of many structures and tells what has gone wrong.

    It judges as :class:`tdncalc.workflows.relax_watch.Watch` judges one.

    Parameters
    ----------
    settings
        Of all relaxations.
    """

    def __init__(self, settings: RelaxSettings) -> None:
        self._settings = settings
        self._start = self._start_volume = self._fmax = self._nearest = np.empty(0)
        self._progress_at = np.empty(0, dtype=np.int64)
        self.best: Step | None = None

    def keep(self, rows: Rows, kept: Bools) -> None:
        """Forget the structures that are not kept, mask (B,)."""
        self._start, self._start_volume = self._start[kept], self._start_volume[kept]
        self._fmax, self._nearest = self._fmax[kept], self._nearest[kept]
        self._progress_at = self._progress_at[kept]
        if self.best is not None:
            self.best = self.best.take(np.repeat(kept, rows.counts), kept)

    def failures(
        self, now: Step, taken: Bools, atoms: list[Atoms], rows: Rows, shortest: float
    ) -> dict[int, str]:
        """Tell which structures have left everything that a relaxation can mend, and why.

        Parameters
        ----------
        now
            Where they are.
        taken
            Which of them (B,) would go on from there.
        atoms, rows
            Elements and periodicity of each, and its rows of atoms.
        shortest
            The smallest distance of two atoms in any of them, Å.
        """
        found = dict.fromkeys(np.flatnonzero(~now.measured.finite()).tolist(), NOT_FINITE)
        n = len(self._start)
        ratio = now.measured.volume[:n] / np.where(self._start_volume > 0, self._start_volume, 1.0)
        swollen = (self._start_volume > 0) & ~((ratio > 1 / VOLUME_RATIO) & (ratio < VOLUME_RATIO))
        risen = (now.measured.enthalpy[:n] - self._start) / rows.counts[:n]
        for place in np.flatnonzero(swollen).tolist():
            found.setdefault(place, SWOLLEN)
        for place in np.flatnonzero(taken[:n] & (risen > EXPLOSION)).tolist():
            found.setdefault(place, exploded(float(risen[place])))
        self._nearest = np.pad(self._nearest, (0, len(atoms) - n), constant_values=NEAREST)
        if shortest < NEAREST:
            for place in np.flatnonzero(taken & now.measured.finite()).tolist():
                fault = self._fallen(place, now.state, atoms[place], rows, first=place >= n)
                if fault is not None:
                    found.setdefault(place, fault)
        return found

    def _fallen(
        self, place: int, state: State, like: Atoms, rows: Rows, *, first: bool
    ) -> str | None:
        own = slice(rows.starts[place], rows.starts[place] + rows.counts[place])
        atoms = Atoms(like.numbers, state.positions[own], cell=state.cells[place], pbc=like.pbc)
        pair = closest_pair(atoms, float(self._nearest[place]))
        if pair is None:
            return None
        if first:
            self._nearest[place] = BEGAN * pair[2]
            return None
        return fallen(atoms, pair)

    def note(self, now: Step, sound: Bools, rows: Rows) -> None:
        """Remember a step of the structures where it is sound, mask (B,)."""
        measured, n = now.measured, len(self._start)
        self._start = np.concatenate([self._start, measured.enthalpy[n:]])
        self._start_volume = np.concatenate([self._start_volume, measured.volume[n:]])
        lower = sound.copy()
        if self.best is not None:
            known = self.best.measured.enthalpy
            lower[:n] &= measured.enthalpy[:n] - known < -LOWER
        fmax = np.concatenate([self._fmax, np.full(len(sound) - n, np.inf)])
        progress = sound & (lower | (measured.fmax < SMALLER * fmax))
        progress_at = np.concatenate([self._progress_at, now.counts[n:]])
        self._progress_at = np.where(progress, now.counts, progress_at)
        self._fmax = np.where(sound, np.fmin(fmax, measured.fmax), fmax)
        self.best = now if self.best is None else _merged(self.best, now, lower, rows)

    def ends(self, now: Step, taken: Bools) -> dict[int, str]:
        """Tell which of the structures, all noted, end here, and why."""
        settings = self._settings
        below = now.measured.enthalpy - self._start <= RISE
        calm = now.measured.converged(settings)
        found = dict.fromkeys(np.flatnonzero(taken & calm & below).tolist(), "converged")
        for place in np.flatnonzero(now.counts >= settings.steps).tolist():
            found.setdefault(place, f"not converged in {counted(now.counts[place], 'step')}")
        for place in np.flatnonzero(now.counts - self._progress_at >= PATIENCE).tolist():
            why = SADDLE if calm[place] else OSCILLATES
            found.setdefault(place, f"not converged in {counted(now.counts[place], 'step')}: {why}")
        return found

    def above_best(self, now: Step) -> Bools:
        """Tell which structures (B,), all noted, are higher than they have been."""
        assert self.best is not None
        return ~(now.measured.enthalpy - self.best.measured.enthalpy <= RISE)


def _merged(old: Step, new: Step, take: Bools, rows: Rows) -> Step:
    """Return the old step, but the new one where `take` (B,) says so, and of structures since."""
    by_row = np.repeat(take, rows.counts)
    state: dict[str, Any] = {
        name: _mixed(value, vars(new.state)[name], by_row if name in State.BY_ATOM else take)
        for name, value in vars(old.state).items()
    }
    measured: dict[str, Any] = {
        name: _mixed(value, vars(new.measured)[name], take)
        for name, value in vars(old.measured).items()
    }
    counts = _mixed(old.counts, new.counts, take)
    assert counts is not None
    return Step(State(**state), Measured(**measured), counts)


def _mixed(old: Floats | None, new: Floats | None, take: Bools) -> Floats | None:
    if old is None or new is None:
        return new
    mixed = new.copy()
    kept = np.flatnonzero(~take[: len(old)])
    mixed[kept] = old[kept]
    return mixed
