"""Molecular dynamics of many replicas together."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError, TDNError
from tdncalc.structures import require_several
from tdncalc.workflows.many.table import Seat, Table
from tdncalc.workflows.md import MDFiles, MDResult, MDSettings, MDStep, run_md
from tdncalc.workflows.subject import attached, working_copy

if TYPE_CHECKING:
    from tdncalc.structures import AnyStructure

__all__ = ["MDOutcome", "run_md_many"]


@dataclass(frozen=True)
class MDOutcome:
    """What became of one of many runs.

    Attributes
    ----------
    index
        Its place in the list, from 0.
    result
        How it ended; None if it failed.
    error
        Why it failed.
    """

    index: int
    result: MDResult | None = None
    error: Exception | None = None


def run_md_many(
    structures: Sequence[AnyStructure],
    *,
    settings: MDSettings,
    calculator: TDNCalculator | None = None,
    files: Sequence[MDFiles | None] | None = None,
    resume: bool = False,
    observer: Callable[[int, MDStep], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[MDOutcome]:
    """Run molecular dynamics of structures together, and give each run as it ends.

    Each is a run of :func:`tdncalc.run_md` with files, guards and checkpoints of its own, in any
    ensemble; only their forces are computed together. Replicas are the same structure several
    times: the seed of each run is that of the settings plus its place. They differ unless the
    structure has velocities and the ensemble draws no random numbers.

    Parameters
    ----------
    structures
        ASE Atoms, pymatgen Structures or Molecules, also mixed.
    settings
        Of all runs.
    calculator
        If None the TDNCalculator of the structures, or the bundled default model.
    files
        Where each run writes; None writes nothing.
    resume
        Go on from the checkpoints.
    observer
        Called after every step of every run, from its thread, with the place of the run.
    stop
        Asked after every step; when it says true, all write a checkpoint and end.

    Yields
    ------
    MDOutcome
        One for each structure, in the order in which they end.

    Raises
    ------
    StructureError
        A structure cannot be used.
    OptionError
        There are not as many files as structures, or their calculators are not one and the same
        TDNCalculator, and none is given for all; or a single structure was given.
    """
    require_several(structures, "run_md_many")
    paths = [None] * len(structures) if files is None else list(files)
    if len(paths) != len(structures):
        raise OptionError(f"{len(paths)} files for {len(structures)} structures; give one for each")
    calculator = calculator or _shared(structures) or TDNCalculator()
    copies = [working_copy(x, calculator) for x in structures]
    table = Table(calculator.potential, calculator.neighbors.skin, copies)
    ended: queue.SimpleQueue[MDOutcome] = queue.SimpleQueue()
    quit_early = threading.Event()

    def asked_to_stop() -> bool:
        return quit_early.is_set() or (stop is not None and stop())

    def run(index: int, seat: Seat) -> None:
        try:
            result = run_md(
                structures[index],
                settings=dataclasses.replace(settings, seed=settings.seed + index),
                calculator=seat,
                files=paths[index],
                resume=resume,
                observer=None if observer is None else lambda now: observer(index, now),
                stop=asked_to_stop,
            )
            ended.put(MDOutcome(index, result))
        except Exception as error:  # noqa: BLE001 - it is told where outcomes are taken
            ended.put(MDOutcome(index, error=error))
        finally:
            table.leave(index)

    threads = [
        threading.Thread(target=run, args=each, daemon=True) for each in enumerate(table.seats)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            yield _expected(ended.get())
    finally:
        quit_early.set()
        for thread in threads:
            thread.join()


def _shared(structures: Sequence[AnyStructure]) -> TDNCalculator | None:
    """Return the calculator that all structures have, if they have one."""
    first = attached(structures[0]) if structures else None
    for index, x in enumerate(structures):
        own = attached(x)
        if own is not first or not (own is None or isinstance(own, TDNCalculator)):
            raise OptionError(
                f"structure {index} has another calculator than a TDNCalculator that all share: "
                "give one as calculator for all"
            )
    return first if isinstance(first, TDNCalculator) else None


def _expected(outcome: MDOutcome) -> MDOutcome:
    """Raise what is no error of a structure or a file, but of the program."""
    if outcome.error is not None and not isinstance(outcome.error, TDNError):
        raise outcome.error
    return outcome
