"""Relax many structures together, each as it would be relaxed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING

import torch
from ase import Atoms
from ase.constraints import FixAtoms

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError, OutOfMemoryError, StructureError, TDNError
from tdncalc.structures import require_several
from tdncalc.workflows.cell_modes import require_movable_cell
from tdncalc.workflows.many.crowd import Crowd
from tdncalc.workflows.relax import relax
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings
from tdncalc.workflows.subject import attached, working_copy

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from tdncalc.structures import AnyStructure

__all__ = ["RelaxOutcome", "relax_many"]

_DEFAULTS = RelaxSettings()
_TOGETHER = ("lbfgs", "fire")
_PORTION = 16  # structures that join one of two crowds at a time, so that both get as many


@dataclass(frozen=True)
class RelaxOutcome:
    """What became of one of many structures.

    Attributes
    ----------
    index
        Its place in the iterable, from 0.
    result
        Where its relaxation ended, converged or not; None if it could not be relaxed.
    error
        Why it could not be relaxed.
    """

    index: int
    result: RelaxResult | None = None
    error: TDNError | None = None


def relax_many(
    structures: Iterable[AnyStructure],
    *,
    calculator: Calculator | None = None,
    settings: RelaxSettings = _DEFAULTS,
    stop: Callable[[], bool] | None = None,
    observer: Callable[[int, float], None] | None = None,
) -> Iterator[RelaxOutcome]:
    """Relax structures together, and give each as it is done, in any order.

    Every structure takes the path that :func:`tdncalc.relax` takes with it alone, with its own
    optimizer, cell and fixed atoms. As many as fit into memory are evaluated at once; when one is
    done another is taken from `structures`, so that these may be endless. What cannot be relaxed
    together is relaxed one after another: with ``optimizer="bfgs"``, ``fix_symmetry``, constraints
    other than FixAtoms, or a calculator that is not a TDNCalculator.

    With a compiled kernel and more than one thread there are two batches that take turns: in a
    thread of its own, which ends with the generator, one is evaluated while the other steps. The
    order of the results is the same every time, but another one than with one thread.

    Parameters
    ----------
    structures
        ASE Atoms, pymatgen Structures or Molecules, also mixed; they are not changed.
    calculator
        If None that of the first structure, if it has a TDNCalculator, or the bundled default
        model. Structures with another one of their own are relaxed with that, one after another.
    settings
        Convergence, optimizer and cell, of all.
    stop
        Asked before every step; when it says true the rest is left as it is and not given.
    observer
        Called after every step with how many structures are being relaxed and their largest force,
        eV/Å.

    Yields
    ------
    RelaxOutcome
        One for each structure. One that cannot be used is an outcome with an error.

    Raises
    ------
    OptionError
        A single structure was given.
    """
    require_several(structures, "relax_many")
    waiting: Iterator[tuple[int, AnyStructure]] = enumerate(structures)
    given, stop = calculator is not None, stop or _never
    if calculator is None:
        waiting, calculator = _of_first(waiting)
    is_default = calculator is None
    calculator = TDNCalculator() if calculator is None else calculator
    crowds = _crowds(calculator, settings)
    door = _Door(waiting, calculator, settings, stop, given, is_default)
    if not crowds:
        yield from door.admit(None)
        return
    # It begins with its first task, and ends when the structures do, or the caller.
    with ThreadPoolExecutor(max_workers=1) as thread:
        if len(crowds) == 1:
            yield from _take_turns(crowds, door, lambda task: task, observer)
        else:
            yield from _take_turns(crowds, door, lambda task: thread.submit(task).result, observer)


def _take_turns(
    crowds: list[Crowd],
    door: _Door,
    begin: Callable[[Callable[[], None]], Callable[[], None]],
    observer: Callable[[int, float], None] | None,
) -> Iterator[RelaxOutcome]:
    """Relax all that comes, a crowd after the other; `begin` a task returns what awaits its end."""
    evaluations: dict[Crowd, Callable[[], None]] = {}
    for crowd in cycle(crowds):
        if door.stop():
            return
        if crowd in evaluations:
            evaluations.pop(crowd)()
            yield from _outcomes(crowd)
            if observer is not None:
                observer(sum(map(len, crowds)), max(one.fmax for one in crowds))
        if crowd.hungry():
            yield from door.admit(crowd, _PORTION if len(crowds) > 1 else None)
        if len(crowd) > 0:
            crowd.place()
            evaluations[crowd] = begin(crowd.evaluate)
        elif not evaluations:
            return


def _never() -> bool:
    return False


def _of_first(
    waiting: Iterator[tuple[int, AnyStructure]],
) -> tuple[Iterator[tuple[int, AnyStructure]], TDNCalculator | None]:
    """Return all that was waiting, and the TDNCalculator of the first, if it has one."""
    first = list(islice(waiting, 1))
    own = attached(first[0][1]) if first else None
    return chain(first, waiting), own if isinstance(own, TDNCalculator) else None


def _crowds(calculator: Calculator, settings: RelaxSettings) -> list[Crowd]:
    """Return crowds to be filled, as far as structures can be relaxed together.

    With a compiled kernel and threads to spare there are two, which take turns: the kernel, which
    does not hold Python's lock, evaluates one while the other takes its step.
    """
    together = settings.optimizer in _TOGETHER and not settings.fix_symmetry
    together = together and settings.max_novelty is None  # a guard looks at one alone
    if not (together and isinstance(calculator, TDNCalculator)):
        return []
    potential = calculator.potential
    in_turn = potential.choice.kernel() is not None and torch.get_num_threads() > 1
    skin = calculator.neighbors.skin
    return [Crowd(potential, skin, settings) for _ in range(2 if in_turn else 1)]


def _outcomes(crowd: Crowd) -> Iterator[RelaxOutcome]:
    """Let a crowd that was evaluated take its step, and give what ends there."""
    for index, end in crowd.step():
        if isinstance(end, TDNError):
            yield RelaxOutcome(index, error=end)
        else:
            yield RelaxOutcome(index, end)


@dataclass(frozen=True)
class _Door:
    """Where structures come in, as there is room for them."""

    waiting: Iterator[tuple[int, AnyStructure]]
    calculator: Calculator
    settings: RelaxSettings
    stop: Callable[[], bool]
    given: bool  # the calculator is the caller's wish
    is_default: bool

    def admit(self, crowd: Crowd | None, most: int | None = None) -> Iterator[RelaxOutcome]:
        """Fill the crowd, by so many at most; relax at once what must be alone, and give it."""
        full = None if crowd is None or most is None else len(crowd) + most
        while (crowd is None or (crowd.has_room() and len(crowd) != full)) and not self.stop():
            entry = next(self.waiting, None)
            if entry is None:
                return
            index, given = entry
            try:
                result = self._enter(index, given, crowd)
            except (StructureError, OptionError, OutOfMemoryError) as error:
                yield RelaxOutcome(index, error=error)
                continue
            if result is not None and result.reason != "stopped":
                yield RelaxOutcome(index, result)

    def _enter(self, index: int, given: AnyStructure, crowd: Crowd | None) -> RelaxResult | None:
        """Add a structure to the crowd, or relax it alone."""
        if not self._shares(given):
            own = attached(given)
            own = self._default if own is None else own
            return relax(given, calculator=own, settings=self.settings, stop=self.stop)
        atoms = working_copy(given, self.calculator)
        if self.settings.cell != "fixed":
            require_movable_cell(atoms, self.settings.cell)
        if crowd is None or not _fits(atoms):
            return relax(given, calculator=self.calculator, settings=self.settings, stop=self.stop)
        crowd.add(index, given, atoms)
        return None

    @cached_property
    def _default(self) -> TDNCalculator:
        """Return the bundled default model, for those that have none beside one that has."""
        return TDNCalculator()

    def _shares(self, given: AnyStructure) -> bool:
        """Tell whether a structure is relaxed with the calculator of most."""
        own = attached(given)
        return self.given or (self.is_default if own is None else own is self.calculator)


def _fits(atoms: Atoms) -> bool:
    return all(type(constraint) is FixAtoms for constraint in atoms.constraints)
