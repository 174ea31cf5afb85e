"""``tdn energy``: energy, largest force and pressure of structures as they are."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.cluster import dask_option, worker_model
from tdncalc.cli.energy_results import EnergyResults
from tdncalc.cli.failures import ExitCode, named, say
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dispersed_model_options,
    dry_run_option,
    inputs_argument,
    one_output_options,
    report_options,
)
from tdncalc.cli.outputs import (
    check_format,
    check_free,
    is_streamed,
    print_json,
    refuse_inputs,
)
from tdncalc.cli.preview import preview
from tdncalc.cli.progress import Progress
from tdncalc.cli.session import Session
from tdncalc.cli.signals import Stop, stop_on_signals
from tdncalc.errors import OptionError, OutOfMemoryError, StructureError, TDNError

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.potential import Potential
    from tdncalc.structures import Source

_BATCH_ATOMS = 1000  # on a CPU; a GPU takes as many as its memory holds from many more
_GPU_BATCH_ATOMS = 100_000


@click.command("energy")
@inputs_argument
@dispersed_model_options
@one_output_options
@report_options
@dry_run_option
@click.option("--resume", is_flag=True, help="Do only what is not in the extxyz of -o yet.")
@dask_option
def command(
    inputs: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    dask: str | None,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Energy, largest force and pressure of each structure.

    INPUT is any structure file, FILE@INDEX (frames as in ASE), a quoted pattern ("lib/**/*.xyz"), a
    folder, or - for extxyz from standard input. With -o the structures are written with their
    energies, forces and stresses, to an extxyz file as they are done.
    """
    if not dry_run:
        _check_output(inputs, output, resume=resume)
    reader = Inputs(inputs, output.output)
    with stop_on_signals() as stop:
        if not reader.any():
            return ExitCode.ERROR
        loaded = session.begin(model)
        if dry_run:
            preview(list(reader), loaded, evaluations=1, as_json=report.as_json)
            return _code(reader, stop)
        with EnergyResults(output, report, loaded.potential.identity, resume=resume) as kept:
            waiting = _Waiting(reader, kept, loaded.potential)
            if dask is None:
                results = _evaluate_here(waiting, loaded.potential, stop)
            else:
                results = _evaluate_there(waiting, loaded, model, dask, stop)
            _keep(results, kept, reader, report)
    if resume and not (kept.n_done or reader.failed or stop.requested or report.quiet):
        say(f"{output.output}: already done, has every structure")
    if report.as_json:
        facts = {"results": kept.rows, "failed": reader.failed, "interrupted": stop.requested}
        print_json({"command": "energy"} | loaded.facts() | facts)
    return _code(reader, stop)


def _check_output(inputs: tuple[str, ...], output: OutputOptions, *, resume: bool) -> None:
    path = output.output
    streamed = path is not None and is_streamed(path)
    if resume and not streamed:
        raise OptionError("--resume goes on with an extxyz file; name it with -o FILE.extxyz")
    if path is None:
        return
    check_format(path)
    refuse_inputs([path], inputs)
    check_free([path], output, replace=resume)


def _code(reader: Inputs, stop: Stop) -> ExitCode:
    if stop.requested:
        return ExitCode.INTERRUPTED
    return ExitCode.ERROR if reader.failed else ExitCode.DONE


class _Waiting:
    """The structures that the model can evaluate; the others are told of and passed over.

    Attributes
    ----------
    taken
        Those that were given as atoms, by their place.
    """

    def __init__(self, reader: Inputs, kept: EnergyResults, potential: "Potential") -> None:
        self._reader, self._kept, self._potential = reader, kept, potential
        self.taken: dict[int, Source] = {}

    def __iter__(self) -> "Iterator[Source]":
        potential = self._potential
        for source in self._kept.rest(self._reader):
            numbers = source.atoms.numbers
            try:
                structures.check_elements(numbers, potential.elements, potential.name, source.label)
            except StructureError as error:
                self._reader.pass_over(error)
            else:
                self._kept.expect(source)
                yield source

    def atoms(self) -> "Iterator[Atoms]":
        """Give them as atoms, and remember whose they are."""
        for place, source in enumerate(self):
            self.taken[place] = source
            yield source.atoms


def _keep(
    results: "Iterable[tuple[Source, Any]]",
    kept: EnergyResults,
    reader: Inputs,
    report: ReportOptions,
) -> None:
    """Keep every result as it comes."""
    # A bar would be torn apart by the table on the same terminal.
    quiet = report.quiet or (sys.stdout.isatty() and not report.as_json)
    with Progress("energy", None, quiet=quiet, unit="structures") as progress:
        for source, found in results:
            if isinstance(found, TDNError):
                reader.pass_over(named(source.label, found))
                continue
            kept.add(source, found)
            progress.show(kept.n_done, source.label)


def _evaluate_here(
    waiting: _Waiting, potential: "Potential", stop: Stop
) -> "Iterator[tuple[Source, Any]]":
    """Evaluate batch after batch."""
    for batch in _batches(waiting, potential):
        yield from zip(batch, _evaluate(potential, batch), strict=True)
        if stop():
            return


def _evaluate(potential: "Potential", batch: "list[Source]") -> list[Any]:
    """Give the results of structures, or why there are none."""
    try:
        return list(potential.evaluate([source.atoms for source in batch]))
    except (OutOfMemoryError, StructureError) as error:
        if len(batch) == 1:
            return [error]
    return [found for source in batch for found in _evaluate(potential, [source])]


def _evaluate_there(
    waiting: _Waiting, loaded: Session, model: ModelOptions, address: str, stop: Stop
) -> "Iterator[tuple[Source, Any]]":
    """Evaluate on a cluster."""
    from tdncalc.workflows.many.cluster import connected, evaluate_on_cluster

    with connected(address) as client:
        known = worker_model(model, loaded.potential)
        found = evaluate_on_cluster(waiting.atoms(), client=client, model=known, stop=stop)
        for place, results in found:
            yield waiting.taken.pop(place), results


def _batches(sources: "Iterable[Source]", potential: "Potential") -> "Iterator[list[Source]]":
    """Collect structures up to a number of atoms."""
    most = _BATCH_ATOMS if potential.device.type == "cpu" else _GPU_BATCH_ATOMS
    batch: list[Source] = []
    room = most
    for source in sources:
        batch.append(source)
        room -= len(source.atoms)
        if room <= 0:
            yield batch
            batch, room = [], most
    if batch:
        yield batch
