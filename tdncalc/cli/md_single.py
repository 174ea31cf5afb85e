"""A run of ``tdn md`` of one structure: its files, and what is said of it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode, warn
from tdncalc.cli.md_many import files_of, recorded
from tdncalc.cli.md_options import RunOptions
from tdncalc.cli.md_velocities import tell
from tdncalc.cli.options import ModelOptions, OutputOptions, ReportOptions
from tdncalc.cli.outputs import (
    check_format,
    check_free,
    make_folder,
    print_json,
    refuse_inputs,
    remove_old,
    write_json,
)
from tdncalc.cli.progress import Progress, duration
from tdncalc.cli.signals import Stop
from tdncalc.structures import Source
from tdncalc.wording import counted
from tdncalc.workflows.md import MDFiles, MDResult, MDSettings, MDStep, run_md
from tdncalc.workflows.wall_time import WallTime

__all__ = ["Ending", "Job", "run_one"]


@dataclasses.dataclass(frozen=True)
class Ending:
    """What can end a run early.

    Attributes
    ----------
    signal
        Somebody's wish.
    limit
        The end of the wall time, if there is one.
    """

    signal: Stop
    limit: WallTime | None

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        return (self.limit is not None and self.limit()) or self.signal()

    def cause(self) -> str:
        """Say what stopped a run."""
        if self.limit is not None and self.limit.reached:
            return f"--wall-time {self.limit.limit}"
        return "a signal"


@dataclasses.dataclass(frozen=True)
class Job:
    """One call of the command."""

    source: Source
    settings: MDSettings
    run: RunOptions
    output: OutputOptions
    report: ReportOptions
    ending: Ending


def run_one(job: Job, options: ModelOptions) -> ExitCode:
    """Run, write its files and say how it ended."""
    folder, stem = job.output.output_dir, f"{job.source.name}-md"
    files = files_of(job.output, stem)
    summary, picture = folder / f"{stem}.json", folder / f"{stem}.png"
    resumes = job.run.resume and files.has_checkpoint()
    pictures = [picture] if job.run.plot else []
    _check_outputs(job, [*files.paths(), summary, *pictures], resumes=resumes)
    if job.run.resume and options.evaluation == "auto":
        options = dataclasses.replace(options, evaluation=recorded(files.checkpoint))
    model = session.begin(options)
    atoms, potential = job.source.atoms, model.potential
    session.settle(
        model, evaluations=job.settings.steps, n_atoms=len(atoms), quiet=job.report.quiet
    )
    structures.check_elements(atoms.numbers, potential.elements, potential.name, job.source.label)
    make_folder(job.output)
    if not resumes:
        remove_old(picture, job.output)
        tell(job.source, job.settings, job.report)
    with session.naming(job.source.label), _progress(job) as progress:
        result = run_md(
            atoms,
            settings=job.settings,
            calculator=model.calculator,
            files=files,
            resume=job.run.resume,
            observer=_observer(progress, job.source.label),
            stop=job.ending,
        )
    if job.output.output is not None:
        structures.write(job.output.output, result.atoms, overwrite=True)
    facts = {"command": "md", **model.facts(), **_record(job, result, files)}
    if not (_had_ended(job, result) and _tells_of(summary, result)):
        write_json(summary, facts)
    if job.run.plot and files.csv.stat().st_size > 0:  # a guard may end a run before its first row
        from tdncalc.workflows.run_plot import plot_md  # with it comes matplotlib

        title = f"{job.source.label}: {job.settings.ensemble}, {result.reason}"
        plot_md(files.csv, picture, title=title)
    if job.report.as_json:
        print_json(facts)
    else:
        verb = "see" if _had_ended(job, result) else "wrote"
        click.echo(f"{_sentence(job, result)}; {verb} {files.trajectory}")
    return _code(result)


def _check_outputs(job: Job, paths: list[Path], *, resumes: bool) -> None:
    last = job.output.output
    if last is not None:
        check_format(last, job.source.atoms)
        paths = [*paths, last]
    refuse_inputs(paths, [job.source.label])
    check_free(paths, job.output, replace=resumes)


def _progress(job: Job) -> Progress:
    settings, quiet = job.settings, job.report.quiet
    label = job.source.label
    return Progress(label, settings.steps, quiet=quiet, timestep_fs=settings.timestep_fs)


def _observer(progress: Progress, label: str) -> Callable[[MDStep], None]:
    energy = ""

    def observe(now: MDStep) -> None:
        nonlocal energy
        if now.frame is not None:
            energy = f"  {now.frame.total_eV:.4f} eV"
        if now.warning is not None:
            warn(f"{label}: step {now.step}: {now.warning}")
        progress.show(now.step, f"{now.temperature_K:.0f} K{energy}")

    return observe


def _record(job: Job, result: MDResult, files: MDFiles) -> dict[str, Any]:
    kinds = ("trajectory", "csv", "checkpoint")
    return {
        "settings": dataclasses.asdict(job.settings),
        "files": {kind: str(getattr(files, kind)) for kind in kinds},
        "input": job.source.label,
        "n_atoms": len(result.atoms),
        "reason": result.reason,
        "stopped_by": job.ending.cause() if result.reason == "stopped" else None,
        "steps": result.steps,
        "time_fs": result.steps * job.settings.timestep_fs,
        "mean_temperature_K": result.temperature_K,
        "drift_meV_per_atom_per_ps": result.drift_meV_per_atom_per_ps,
        "seconds": result.seconds,
        "ns_per_day": result.ns_per_day,
    }


def _sentence(job: Job, result: MDResult) -> str:
    picoseconds = result.steps * job.settings.timestep_fs / 1000
    drift = result.drift_meV_per_atom_per_ps
    steps = counted(result.steps, "step")
    return (
        f"{job.source.label}: {_outcome(job, result)}, {steps} ({picoseconds:g} ps), "
        f"mean temperature {result.temperature_K:.0f} K, "
        + ("" if drift is None else f"drift {drift:.3g} meV/atom/ps, ")
        + duration(result.seconds)
        + (f", {result.ns_per_day:.3g} ns/day" if result.ns_per_day > 0 else "")
        + ("; go on with --resume" if result.reason == "stopped" else "")
    )


def _outcome(job: Job, result: MDResult) -> str:
    if result.reason == "stopped":
        return f"stopped by {job.ending.cause()}"
    return "already done" if _had_ended(job, result) else result.reason


def _had_ended(job: Job, result: MDResult) -> bool:
    """Tell whether a run that was to go on had nothing left to do."""
    return result.reason == "done" and job.run.resume and result.ns_per_day == 0


def _tells_of(summary: Path, result: MDResult) -> bool:
    """Tell whether a summary says how a run that had ended was made; a kill may have come first."""
    try:
        known = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ended = {"reason": result.reason, "steps": result.steps}
    return isinstance(known, dict) and ended.items() <= known.items()


def _code(result: MDResult) -> ExitCode:
    if result.reason == "done":
        return ExitCode.DONE
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.GUARD
