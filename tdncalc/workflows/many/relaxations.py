"""Relax many structures together, each as it would be relaxed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms
from ase.constraints import FixAtoms

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError, OutOfMemoryError, StructureError, TDNError
from tdncalc.workflows.cell_modes import require_movable_cell
from tdncalc.workflows.many.crowd import Crowd
from tdncalc.workflows.relax import relax
from tdncalc.workflows.relax_settings import RelaxResult, RelaxSettings
from tdncalc.workflows.subject import working_copy

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from tdncalc.structures import AnyStructure

__all__ = ["RelaxOutcome", "relax_many"]

_DEFAULTS = RelaxSettings()
_TOGETHER = ("lbfgs", "fire")


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

    Parameters
    ----------
    structures
        ASE Atoms, pymatgen Structures or Molecules, also mixed; they are not changed.
    calculator
        The bundled default model if None.
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
    """
    calculator = calculator if calculator is not None else TDNCalculator()
    crowd = _crowd(calculator, settings)
    stop = stop or _never
    waiting = enumerate(structures)
    while not stop():
        if crowd is None or crowd.hungry():
            yield from _admit(waiting, crowd, calculator, settings, stop)
        if crowd is None or len(crowd) == 0:
            return
        for index, end in crowd.step():
            if isinstance(end, TDNError):
                yield RelaxOutcome(index, error=end)
            else:
                yield RelaxOutcome(index, end)
        if observer is not None:
            observer(len(crowd), crowd.fmax)


def _never() -> bool:
    return False


def _crowd(calculator: Calculator, settings: RelaxSettings) -> Crowd | None:
    """Return a crowd to be filled, if structures can be relaxed together."""
    together = settings.optimizer in _TOGETHER and not settings.fix_symmetry
    together = together and settings.max_novelty is None  # a guard looks at one alone
    if not (together and isinstance(calculator, TDNCalculator)):
        return None
    return Crowd(calculator.potential, calculator.neighbors.skin, settings)


def _admit(
    waiting: Iterator[tuple[int, AnyStructure]],
    crowd: Crowd | None,
    calculator: Calculator,
    settings: RelaxSettings,
    stop: Callable[[], bool],
) -> Iterator[RelaxOutcome]:
    """Fill the crowd; relax at once what must be alone, and give it."""
    while (crowd is None or crowd.has_room()) and not stop():
        index, given = next(waiting, (None, None))
        if index is None or given is None:
            return
        try:
            atoms = working_copy(given, calculator)
            if settings.cell != "fixed":
                require_movable_cell(atoms, settings.cell)
            if crowd is not None and _fits(atoms):
                crowd.add(index, given, atoms)
                continue
            result = relax(given, calculator=calculator, settings=settings, stop=stop)
        except (StructureError, OptionError, OutOfMemoryError) as error:
            yield RelaxOutcome(index, error=error)
            continue
        if result.reason != "stopped":
            yield RelaxOutcome(index, result)


def _fits(atoms: Atoms) -> bool:
    return all(type(constraint) is FixAtoms for constraint in atoms.constraints)
