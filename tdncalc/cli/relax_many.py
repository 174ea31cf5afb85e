"""The relaxation of many structures together, as a stream into common files."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc.cli import session
from tdncalc.cli.cluster import worker_model
from tdncalc.cli.done import digest
from tdncalc.cli.failures import ExitCode, heard_or_not, named, say
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import OutputOptions
from tdncalc.cli.outputs import (
    as_json,
    check_free,
    make_folder,
    print_json,
    refuse_inputs,
    write_json,
)
from tdncalc.cli.progress import Progress
from tdncalc.cli.relax_runs import Job, facts, prepare, record, sentence, tell
from tdncalc.cli.relax_stream import RelaxStream
from tdncalc.cli.session import Session
from tdncalc.errors import OptionError, StructureError
from tdncalc.workflows.relax_trajectory import require_same

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.structures import Source
    from tdncalc.workflows.many.relaxations import RelaxOutcome


def structures_of(output: OutputOptions) -> Path:
    """Name the file of the structures that are relaxed together."""
    return output.output or output.output_dir / "relaxed.extxyz"


def relax_all(job: Job, reader: Inputs) -> ExitCode:
    """Relax structures together, and write each as it is done."""
    folder = job.output.output_dir
    stream = RelaxStream(
        structures_of(job.output),
        folder / "relax.jsonl",
        resume=job.run.resume,
    )
    if job.run.trajectory is not None:
        raise OptionError("--trajectory takes one structure; leave it out, or give one INPUT")
    if job.run.plot:
        raise OptionError("--plot takes one structure; leave it out, or give one INPUT")
    summary = folder / "relax.json"
    refuse_inputs([*stream.paths, summary], reader.specs)
    check_free([*stream.paths, summary], job.output, replace=stream.resumes)
    model = session.begin(job.model)
    stream.require_model(model.potential)
    if stream.resumes:
        _require_same_settings(summary, facts(job, model))
    make_folder(job.output)
    n_before = stream.n_done
    with stream:
        write_json(summary, facts(job, model) | _files(stream, summary))  # of a killed run, too
        _relax_into(stream, job, reader, model)
    if stream.n_done == n_before > 0 and not (job.stop() or reader.failed or job.report.quiet):
        say(f"{stream.paths[0]}: already done, has every structure")
    ended = facts(job, model) | _files(stream, summary) | _ended(stream, job, reader)
    write_json(summary, ended)
    if job.report.as_json:
        print_json(ended | {"results": list(stream.records())})
    else:
        click.echo(_tally(stream, len(reader.failed)))
    if job.stop():
        return ExitCode.INTERRUPTED
    if reader.failed:
        return ExitCode.ERROR
    return ExitCode.DONE if stream.n_converged == stream.n_done else ExitCode.NOT_CONVERGED


def _require_same_settings(summary: Path, asked: dict[str, Any]) -> None:
    """Refuse to resume with other settings than those of the summary, but for the steps."""
    try:
        recorded = json.loads(summary.read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing to compare with
    settings = json.loads(as_json(asked["settings"]))
    bound = (recorded.keys() & settings.keys()) - {"steps"}
    require_same(recorded, {name: settings[name] for name in settings if name in bound}, summary)


def _files(stream: RelaxStream, summary: Path) -> dict[str, Any]:
    kinds = zip(("structures", "table", "summary"), (*stream.paths, summary), strict=True)
    return {"files": {kind: str(path) for kind, path in kinds}}


def _ended(stream: RelaxStream, job: Job, reader: Inputs) -> dict[str, Any]:
    """Say what came of all, with what an earlier run left."""
    return {
        "n_relaxed": stream.n_done,
        "n_converged": stream.n_converged,
        "failed": reader.failed,
        "interrupted": job.stop(),
    }


def _relax_into(stream: RelaxStream, job: Job, reader: Inputs, model: Session) -> None:
    """Relax what is not done yet; what is interrupted leaves nothing behind."""
    relaxing = _Sources(job, reader, stream, model)
    # A bar would be torn apart by the sentences on the same terminal.
    quiet = job.report.quiet or (sys.stdout.isatty() and not job.report.as_json)
    with Progress("relax", None, quiet=quiet, unit="structures") as progress:

        def observe(n_structures: int, fmax: float) -> None:
            progress.show(stream.n_done, f"{n_structures} at work, fmax up to {fmax:.3g} eV/Å")

        relax = _relax_here if job.run.dask is None else _relax_there
        for outcome in relax(job, relaxing, model, observe):
            source = relaxing.taken.pop(outcome.index)
            if outcome.result is None:
                assert outcome.error is not None
                reader.pass_over(named(source.label, outcome.error))
                continue
            said = record(source, outcome.result) | {"input_digest": digest(source.atoms)}
            stream.append(outcome.result.atoms, said)
            tell(source, outcome.result)
            progress.show(stream.n_done, f"{len(relaxing.taken)} at work")
            if not job.report.as_json:
                with heard_or_not(sys.stdout):
                    click.echo(sentence(source, outcome.result))


def _relax_here(
    job: Job, relaxing: "_Sources", model: Session, observe: Callable[[int, float], None]
) -> "Iterator[RelaxOutcome]":
    """Relax on this machine."""
    # Imported here, after every check that needs no model: torch takes seconds.
    from tdncalc.workflows.many.relaxations import relax_many

    yield from relax_many(
        relaxing,
        calculator=model.calculator,
        settings=job.settings,
        stop=job.stop,
        observer=observe,
    )


def _relax_there(
    job: Job, relaxing: "_Sources", model: Session, _observe: Callable[[int, float], None]
) -> "Iterator[RelaxOutcome]":
    """Relax on a cluster."""
    from tdncalc.workflows.many.cluster import connected, relax_on_cluster

    assert job.run.dask is not None
    with connected(job.run.dask) as client:
        yield from relax_on_cluster(
            relaxing,
            client=client,
            model=worker_model(job.model, model.potential),
            settings=job.settings,
            stop=job.stop,
        )


class _Sources:
    """The structures still to be done, ready to be relaxed.

    Attributes
    ----------
    taken
        Those that were given and have no result yet, by their place.
    """

    def __init__(self, job: Job, reader: Inputs, stream: RelaxStream, model: Session) -> None:
        self._job, self._reader, self._stream, self._model = job, reader, stream, model
        self.taken: dict[int, Source] = {}

    def __iter__(self) -> "Iterator[Atoms]":
        place = 0
        for source in self._stream.rest(self._reader):
            try:
                atoms = prepare(self._job, source, self._model)
            except (StructureError, OptionError) as error:
                self._reader.pass_over(error)
                continue
            self.taken[place] = source
            yield atoms
            place += 1


def _tally(stream: RelaxStream, failed: int) -> str:
    """Sum up what lies in the files of a stream, with what an earlier run left there."""
    bad = f", {failed} could not be used" if failed else ""
    files = " and ".join(str(path) for path in stream.paths)
    return f"{stream.n_done} relaxed, {stream.n_converged} of them converged{bad}; wrote {files}"
