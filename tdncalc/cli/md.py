"""``tdn md``: molecular dynamics of one structure."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import read_one
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dry_run_option,
    gather,
    model_options,
    output_options,
    report_options,
    setting,
)
from tdncalc.cli.outputs import check_format, check_free, make_folder, print_json, write_json
from tdncalc.cli.preview import preview
from tdncalc.cli.progress import Progress, duration
from tdncalc.cli.signals import Stop, stop_on_signals
from tdncalc.errors import OptionError
from tdncalc.structures import Source
from tdncalc.workflows.md import (
    ENSEMBLES,
    Guards,
    MDFiles,
    MDResult,
    MDSettings,
    MDStep,
    run_md,
)
from tdncalc.workflows.md_checkpoint import load as load_checkpoint

_FEMTOSECONDS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}


@dataclasses.dataclass(frozen=True)
class _RunOptions:
    """What of a run is no physics, and its length as typed.

    Attributes
    ----------
    steps, time
        Either of them.
    resume
        Whether to go on with an earlier run.
    dry_run
        Whether to estimate only.
    allow_direct_forces
        Whether a run at constant energy may use forces that are no gradient of an energy.
    """

    steps: int | None
    time: str | None
    resume: bool
    dry_run: bool
    allow_direct_forces: bool


@dataclasses.dataclass(frozen=True)
class _Job:
    """One call of the command."""

    source: Source
    settings: MDSettings
    run: _RunOptions
    output: OutputOptions
    report: ReportOptions
    stop: Stop


@click.command("md")
@click.argument("structure", metavar="INPUT")
@gather(
    _RunOptions,
    "run",
    click.option("--steps", type=click.IntRange(min=0), help="Length of the run in steps, or"),
    click.option("--time", help='its length as a time: "10 ps".'),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint."),
    dry_run_option,
    click.option(
        "--allow-direct-forces",
        is_flag=True,
        help="Run nve even if forces are no gradient of the energy.",
    ),
)
@gather(
    MDSettings,
    "settings",
    setting(MDSettings, "ensemble", "What is kept constant, and how.", choices=ENSEMBLES),
    setting(MDSettings, "temperature_K", "Temperature, K."),
    setting(MDSettings, "pressure_GPa", "Pressure of the npt ensembles, GPa."),
    setting(MDSettings, "timestep_fs", "Time step, fs."),
    setting(MDSettings, "interval", "Steps between frames and rows of the table."),
    setting(MDSettings, "checkpoint_interval", "Steps between checkpoints."),
    setting(MDSettings, "friction_per_fs", "Friction of nvt-langevin, 1/fs."),
    setting(MDSettings, "thermostat_time_fs", "Time constant of the other thermostats, fs."),
    setting(MDSettings, "barostat_time_fs", "Time constant of the barostat, fs."),
    setting(MDSettings, "compressibility_per_GPa", "That npt-berendsen assumes, 1/GPa."),
    setting(MDSettings, "seed", "Seed of velocities and thermostat."),
    preset={"steps": 0, "guards": Guards()},
)
@gather(
    Guards,
    "guards",
    setting(Guards, "max_temperature_K", "Stop above this temperature, K."),
    setting(Guards, "max_force", "Stop above this force, eV/Å."),
    setting(Guards, "min_distance", "Stop when two atoms are closer than this, Å."),
)
@model_options
@output_options
@report_options
def command(
    structure: str,
    run: _RunOptions,
    settings: MDSettings,
    guards: Guards,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Run molecular dynamics.

    For a structure X it writes X-md.traj and X-md.csv, X-md.checkpoint to go on from with --resume,
    and X-md.json; with -o also the last structure.
    """
    steps = _length(run, settings.timestep_fs)
    settings = dataclasses.replace(settings, steps=steps, guards=guards)
    with stop_on_signals() as stop:
        source = read_one(structure)
        job = _Job(source, settings, run, output, report, stop)
        if run.dry_run:
            preview([source], session.begin(model), steps=max(steps, 1), as_json=report.as_json)
            return ExitCode.DONE
        return _run(job, model)


def _length(run: _RunOptions, timestep_fs: float) -> int:
    """Give the length of the run in steps."""
    if (run.steps is None) == (run.time is None):
        raise click.UsageError('Give exactly one of --steps N and --time "10 ps"')
    if run.time is None:
        assert run.steps is not None
        return run.steps
    typed = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(fs|ps|ns)\s*", run.time)
    if typed is None:
        raise click.UsageError(f"--time {run.time!r} is not a time in fs, ps or ns, like '10 ps'")
    return round(float(typed[1]) * _FEMTOSECONDS[typed[2]] / timestep_fs)


def _run(job: _Job, options: ModelOptions) -> ExitCode:
    folder, stem = job.output.output_dir, f"{job.source.name}-md"
    files = MDFiles(
        trajectory=folder / f"{stem}.traj",
        csv=folder / f"{stem}.csv",
        checkpoint=folder / f"{stem}.checkpoint",
        overwrite=job.output.overwrite,
    )
    summary = folder / f"{stem}.json"
    _check_outputs(
        job, [*files.paths(), summary], resumes=job.run.resume and files.checkpoint.exists()
    )
    if job.run.resume and options.evaluation == "auto":
        options = dataclasses.replace(options, evaluation=_recorded(files.checkpoint))
    model = session.begin(options)
    atoms, potential = job.source.atoms, model.potential
    session.settle(model, evaluations=job.settings.steps, n_atoms=len(atoms))
    if potential.direct_forces:
        _require_thermostat(job, potential.name)
    structures.check_elements(atoms.numbers, potential.elements, potential.name, job.source.label)
    make_folder(job.output)
    with session.naming(job.source.label), _progress(job) as progress:
        result = run_md(
            atoms,
            settings=job.settings,
            calculator=model.calculator,
            files=files,
            resume=job.run.resume,
            observer=_observer(progress),
            stop=job.stop,
        )
    if job.output.output is not None:
        structures.write(job.output.output, result.atoms, overwrite=True)
    facts = {"command": "md", **model.facts(), **_record(job, result, files)}
    write_json(summary, facts)
    if job.report.as_json:
        print_json(facts)
    else:
        click.echo(f"{_sentence(job, result)}; wrote {files.trajectory}")
    return _code(result)


def _recorded(checkpoint: Path) -> str:
    """Return how the interrupted run was evaluated: bits depend on it."""
    found = load_checkpoint(checkpoint)
    return found.evaluation or "auto" if found else "auto"


def _require_thermostat(job: _Job, name: str) -> None:
    """Refuse constant energy to forces that do not conserve it, unless the user insists."""
    if job.settings.ensemble == "nve" and not job.run.allow_direct_forces:
        raise OptionError(
            f"the forces of model {name!r} are no gradient of an energy, so that nve conserves "
            "nothing; choose a thermostat by --ensemble, or give --allow-direct-forces"
        )


def _check_outputs(job: _Job, paths: list[Path], *, resumes: bool) -> None:
    last = job.output.output
    if last is not None:
        check_format(last)
        paths = [*paths, last]
    check_free(paths, job.output, replace=resumes)


def _progress(job: _Job) -> Progress:
    settings, quiet = job.settings, job.report.quiet
    label = job.source.label
    return Progress(label, settings.steps, quiet=quiet, timestep_fs=settings.timestep_fs)


def _observer(progress: Progress) -> Callable[[MDStep], None]:
    energy = ""

    def observe(now: MDStep) -> None:
        nonlocal energy
        if now.frame is not None:
            energy = f"  {now.frame.total_eV:.4f} eV"
        progress.show(now.step, f"{now.temperature_K:.0f} K{energy}")

    return observe


def _record(job: _Job, result: MDResult, files: MDFiles) -> dict[str, Any]:
    kinds = ("trajectory", "csv", "checkpoint")
    return {
        "settings": dataclasses.asdict(job.settings),
        "files": {kind: str(getattr(files, kind)) for kind in kinds},
        "input": job.source.label,
        "n_atoms": len(result.atoms),
        "reason": result.reason,
        "steps": result.steps,
        "time_fs": result.steps * job.settings.timestep_fs,
        "mean_temperature_K": result.temperature_K,
        "drift_meV_per_atom_per_ps": result.drift_meV_per_atom_per_ps,
        "seconds": result.seconds,
        "ns_per_day": result.ns_per_day,
    }


def _sentence(job: _Job, result: MDResult) -> str:
    picoseconds = result.steps * job.settings.timestep_fs / 1000
    drift = result.drift_meV_per_atom_per_ps
    return (
        f"{job.source.label}: {result.reason}, {result.steps} steps ({picoseconds:g} ps), "
        f"mean temperature {result.temperature_K:.0f} K, "
        + ("" if drift is None else f"drift {drift:.3g} meV/atom/ps, ")
        + f"{duration(result.seconds)}, {result.ns_per_day:.3g} ns/day"
    )


def _code(result: MDResult) -> ExitCode:
    if result.reason == "done":
        return ExitCode.DONE
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.GUARD
