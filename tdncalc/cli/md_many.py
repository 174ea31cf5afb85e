"""Molecular dynamics of several replicas of one structure together."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode, complain, warn
from tdncalc.cli.md_velocities import refuse_identical, tell
from tdncalc.cli.options import ModelOptions, OutputOptions, ReportOptions
from tdncalc.cli.outputs import check_free, make_folder, print_json, write_json
from tdncalc.cli.progress import Progress
from tdncalc.errors import OptionError
from tdncalc.structures import Source
from tdncalc.wording import counted
from tdncalc.workflows.md import MDFiles, MDResult, MDSettings, MDStep
from tdncalc.workflows.md_checkpoint import load as load_checkpoint

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator

_MOST_DIGITS = 7  # of the number of a replica


@dataclasses.dataclass(frozen=True)
class Replicas:
    """Runs of one structure that differ in their seeds.

    Attributes
    ----------
    source, settings
        What is run; the seed of each replica is that of the settings plus its number.
    count
        How many.
    resume
        Whether to go on with earlier runs.
    output, report
        Where results go, and how they are told.
    stop
        Asked whether to stop.
    """

    source: Source
    settings: MDSettings
    count: int
    resume: bool
    output: OutputOptions
    report: ReportOptions
    stop: Callable[[], bool]

    def files(self) -> list[MDFiles]:
        """Name the files of every replica: X-md-0.traj and so on.

        Those that are resumed keep their digits, however many they are now.
        """
        digits = len(str(self.count - 1))
        if self.resume:
            begun = (n for n in range(1, _MOST_DIGITS) if self._named(0, n).has_checkpoint())
            digits = next(begun, digits)
        return [self._named(place, digits) for place in range(self.count)]

    def _named(self, place: int, digits: int) -> MDFiles:
        return files_of(self.output, f"{self.source.name}-md-{place:0{digits}d}")


def files_of(output: OutputOptions, stem: str) -> MDFiles:
    """Name the files of a run."""
    folder = output.output_dir
    return MDFiles(
        trajectory=folder / f"{stem}.traj",
        csv=folder / f"{stem}.csv",
        checkpoint=folder / f"{stem}.checkpoint",
        overwrite=output.overwrite,
    )


def run_replicas(replicas: Replicas, options: ModelOptions) -> ExitCode:
    """Run all replicas, each into its own files."""
    if replicas.output.output is not None:
        raise OptionError("--output takes one run; leave it out, or --replicas")
    source, files = replicas.source, replicas.files()
    refuse_identical(source, replicas.settings, replicas.count)
    summary = replicas.output.output_dir / f"{source.name}-md.json"
    resumes = replicas.resume and any(one.has_checkpoint() for one in files)
    paths = [path for one in files for path in one.paths()]
    check_free([*paths, summary], replicas.output, replace=resumes)
    if resumes and options.evaluation == "auto":
        known = (recorded(one.checkpoint) for one in files)
        evaluation = next((name for name in known if name != "auto"), "auto")
        options = dataclasses.replace(options, evaluation=evaluation)
    model = session.begin(options)
    potential = model.potential
    n_atoms = replicas.count * len(source.atoms)
    session.settle(
        model, evaluations=replicas.settings.steps, n_atoms=n_atoms, quiet=replicas.report.quiet
    )
    structures.check_elements(
        source.atoms.numbers, potential.elements, potential.name, source.label
    )
    make_folder(replicas.output)
    if not resumes:
        tell(source, replicas.settings, replicas.report)
    with session.naming(source.label):
        results, failed = _run(replicas, model.calculator, files)
    facts = {"command": "md", **model.facts(), "input": source.label}
    facts |= {"settings": dataclasses.asdict(replicas.settings), "runs": results}
    if results:  # or an earlier run's summary is still the true one
        write_json(summary, facts)
    if replicas.report.as_json:
        print_json(facts)
    else:
        wrote = f"; wrote {summary}" if results else ""
        click.echo(f"{source.label}: {_tally(results, replicas.count)}{wrote}")
    return _code(results, failed)


def recorded(checkpoint: Path) -> str:
    """Return how an interrupted run was evaluated: bits depend on it."""
    found = load_checkpoint(checkpoint, quiet=True)
    return found.evaluation or "auto" if found else "auto"


def _run(
    replicas: Replicas, calculator: "TDNCalculator", files: list[MDFiles]
) -> tuple[list[dict[str, Any]], bool]:
    """Run together; give what is to be said of each replica, and whether one failed."""
    # Imported here, after every check that needs no model: torch takes seconds.
    from tdncalc.workflows.many.dynamics import run_md_many

    failed = False
    results: dict[int, dict[str, Any]] = {}
    settings = replicas.settings
    with Progress(
        f"{replicas.count} x {replicas.source.label}",
        settings.steps,
        quiet=replicas.report.quiet,
        timestep_fs=settings.timestep_fs * replicas.count,
    ) as progress:

        def observe(place: int, now: MDStep) -> None:
            if now.warning is not None:
                warn(f"replica {place}: step {now.step}: {now.warning}")
            if place == 0:
                progress.show(now.step, f"{now.temperature_K:.0f} K")

        outcomes = run_md_many(
            [replicas.source.atoms] * replicas.count,
            settings=settings,
            calculator=calculator,
            files=files,
            resume=replicas.resume,
            observer=observe,
            stop=replicas.stop,
        )
        for outcome in outcomes:
            if outcome.result is None:
                assert outcome.error is not None
                complain(f"replica {outcome.index}: {outcome.error}")
                failed = True
            else:
                path = files[outcome.index].trajectory
                results[outcome.index] = _record(outcome.index, outcome.result, path)
    return [results[place] for place in sorted(results)], failed


def _record(place: int, result: MDResult, path: Path) -> dict[str, Any]:
    return {
        "replica": place,
        "trajectory": str(path),
        "reason": result.reason,
        "steps": result.steps,
        "mean_temperature_K": result.temperature_K,
        "drift_meV_per_atom_per_ps": result.drift_meV_per_atom_per_ps,
        "seconds": result.seconds,
    }


def _tally(results: list[dict[str, Any]], count: int) -> str:
    reasons = [result["reason"] for result in results]
    done = reasons.count("done")
    others = sorted({reason for reason in reasons if reason != "done"})
    return f"{done} of {counted(count, 'replica')} done" + "".join(f", {text}" for text in others)


def _code(results: list[dict[str, Any]], failed: bool) -> ExitCode:
    reasons = {result["reason"] for result in results}
    if failed:
        return ExitCode.ERROR
    if "stopped" in reasons:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if reasons == {"done"} else ExitCode.GUARD
