"""Many structures on many machines: chunks of them as tasks of a Dask cluster."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import (
    CheckpointError,
    ModelNotFoundError,
    OptionError,
    OutOfMemoryError,
    StructureError,
    TDNError,
)
from tdncalc.results import Properties
from tdncalc.workflows.many.relaxations import RelaxOutcome, relax_many
from tdncalc.workflows.relax_settings import RelaxSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from tdncalc.structures import AnyStructure

__all__ = ["WorkerModel", "connected", "evaluate_on_cluster", "relax_on_cluster"]

_LOG = logging.getLogger(__name__)

_CHUNK = 32  # structures of a task: enough for a batch, and few to do again when a worker dies
_AHEAD = 2  # tasks for each thread of a worker, so that none waits for the next
_POLL_S = 0.3
_CONNECT_S = "10s"

Task = Callable[[list[Any]], list[Any]]
Part = list[tuple[int, Any]]

# A worker with several threads computes one task at a time: they would share a calculator.
_BUSY = threading.Lock()


@dataclass(frozen=True)
class WorkerModel:
    """The model that every worker loads once.

    Attributes
    ----------
    model, device, dtype, evaluation, product, dispersion
        As for :class:`tdncalc.TDNCalculator`; a path must lead to the folder on every worker.
    sha256
        Checksum that its card must have.
    """

    model: str
    device: str
    dtype: str
    evaluation: str
    product: str | None
    sha256: str
    dispersion: str | None = None


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to the scheduler at an address, ``tcp://host:port``, or named by a scheduler file.

    Raises
    ------
    OptionError
        dask.distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise OptionError(
            "dask.distributed is not installed; pip install 'tdncalc[dask]'"
        ) from error
    try:
        client = Client(_in_file(address) or address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {address!r}; give an address like tcp://host:8786 or a "
            "scheduler file"
        ) from error
    with _quiet("distributed", "distributed.client"), client:
        if not client.nthreads():
            _LOG.warning("the Dask scheduler at %s has no workers yet; waiting", address)
        yield client


def _in_file(name: str) -> str | None:
    """Read the address from a scheduler file; the client would wait for a missing one forever."""
    if not name.endswith(".json"):
        return None
    content = json.loads(Path(name).read_text(encoding="utf-8"))
    if not (isinstance(content, dict) and isinstance(content.get("address"), str)):
        raise ValueError("it names no address")
    return str(content["address"])


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Silence loggers with levels of their own: of a lost connection they print tracebacks."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def relax_on_cluster(
    structures: Iterable[AnyStructure],
    *,
    client: Client,
    model: WorkerModel,
    settings: RelaxSettings,
    stop: Callable[[], bool],
    chunk: int = _CHUNK,
) -> Iterator[RelaxOutcome]:
    """Relax structures on a cluster as :func:`tdncalc.relax_many`, and give each as it is done.

    Where a worker dies its structures are done again by another; each comes back once.
    """
    task = partial(_relax, model, settings)
    for index, outcome in _spread(client, task, structures, chunk, stop):
        if isinstance(outcome, TDNError):
            yield RelaxOutcome(index, error=outcome)
        else:
            yield RelaxOutcome(index, outcome.result, outcome.error)


def evaluate_on_cluster(
    structures: Iterable[Atoms],
    *,
    client: Client,
    model: WorkerModel,
    stop: Callable[[], bool],
    chunk: int = _CHUNK,
) -> Iterator[tuple[int, Properties | TDNError]]:
    """Evaluate structures that the model knows on a cluster, each with its index, in any order."""
    yield from _spread(client, partial(_evaluate, model), structures, chunk, stop)


def _spread(
    client: Client, task: Task, items: Iterable[Any], chunk: int, stop: Callable[[], bool]
) -> Iterator[tuple[int, Any]]:
    """Give what a task makes of each item, with its index; items are taken as workers need them."""
    from distributed import wait

    numbered = enumerate(items)
    parts = iter(lambda: list(islice(numbered, chunk)), [])
    pending: dict[Future[Any], Part] = {}
    again: list[Part] = []
    try:
        while not stop():
            _submit(client, task, parts, again, pending)
            if not pending:
                return
            try:
                done = wait(list(pending), timeout=_POLL_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in done:
                part = pending.pop(future)
                yield from _collect(future, part, again)
    except (OSError, CancelledError) as error:
        if getattr(error, "filename", None) is not None:
            raise  # of reading the structures
        raise TDNError(
            "the Dask scheduler is gone; what was done is kept, go on with --resume"
        ) from error
    finally:
        with suppress(OSError, CancelledError):
            client.cancel(list(pending))


def _submit(
    client: Client,
    task: Task,
    parts: Iterator[Part],
    again: list[Part],
    pending: dict[Future[Any], Part],
) -> None:
    """Keep every thread of every worker busy, as many as there are now."""
    threads = sum(client.nthreads().values())
    while len(pending) < _AHEAD * max(threads, 1):
        part = again.pop() if again else next(parts, None)
        if part is None:
            return
        pending[client.submit(task, [item for _, item in part], pure=False)] = part


def _collect(future: Future[Any], part: Part, again: list[Part]) -> Iterator[tuple[int, Any]]:
    """Give the results of a task; where workers died of it, try its structures one by one."""
    from distributed import KilledWorker

    try:
        values = future.result()
    except (KilledWorker, OutOfMemoryError, StructureError) as error:
        if len(part) > 1:
            again.extend([one] for one in part)
            return
        died = "the workers that computed it died; is it too large for their memory?"
        known = OutOfMemoryError(died) if isinstance(error, KilledWorker) else error
        values = [known.with_traceback(error.__traceback__)]
    for (index, _), value in zip(part, values, strict=True):
        yield index, value


@cache
def _load(model: WorkerModel) -> TDNCalculator:
    """Load the model, once for each worker."""
    try:
        calculator = TDNCalculator(
            model.model,
            model.device,
            model.dtype,
            evaluation=model.evaluation,  # type: ignore[arg-type]
            product=model.product,
            dispersion=model.dispersion,
        )
    except ModelNotFoundError as error:
        raise CheckpointError(
            f"a worker has no model {model.model!r}; install it, or copy its folder to this path, "
            "on every machine"
        ) from error
    if calculator.potential.card["sha256"] != model.sha256:
        raise CheckpointError(
            f"a worker has another model {model.model!r}; install the same on every machine"
        )
    return calculator


def _relax(
    model: WorkerModel, settings: RelaxSettings, structures: list[AnyStructure]
) -> list[RelaxOutcome]:
    with _BUSY:
        outcomes = relax_many(structures, calculator=_load(model), settings=settings)
        return sorted(outcomes, key=lambda outcome: outcome.index)


def _evaluate(model: WorkerModel, structures: list[Atoms]) -> list[Properties]:
    with _BUSY:
        return _load(model).potential.evaluate(structures)
