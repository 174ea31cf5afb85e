"""``tdn relax``: relax the atoms of structures, and their cells."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dry_run_option,
    gather,
    inputs_argument,
    model_options,
    output_options,
    report_options,
    setting,
)
from tdncalc.cli.outputs import check_free, make_folder, print_json, write_json
from tdncalc.cli.preview import preview
from tdncalc.cli.progress import Progress, duration
from tdncalc.cli.relax_stream import RelaxStream
from tdncalc.cli.signals import Stop, stop_on_signals
from tdncalc.errors import OptionError, StructureError
from tdncalc.workflows.constraints import parse_fix
from tdncalc.workflows.relax import RelaxResult, RelaxSettings, RelaxStep, relax
from tdncalc.workflows.relax_settings import CELL_MODES, OPTIMIZERS

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.calculator import TDNCalculator
    from tdncalc.structures import Source


@dataclasses.dataclass(frozen=True)
class _RunOptions:
    """What of a relaxation is no physics.

    Attributes
    ----------
    fix
        Descriptions of atoms to hold fixed.
    trajectory
        The file of every step, if the user named one.
    resume
        Whether to go on with an earlier run.
    dry_run
        Whether to estimate only.
    """

    fix: tuple[str, ...]
    trajectory: Path | None
    resume: bool
    dry_run: bool


@dataclasses.dataclass(frozen=True)
class _Job:
    """One call of the command."""

    settings: RelaxSettings
    run: _RunOptions
    model: ModelOptions
    output: OutputOptions
    report: ReportOptions
    stop: Stop


@click.command("relax")
@inputs_argument
@gather(
    RelaxSettings,
    "settings",
    setting(RelaxSettings, "fmax", "Largest force that counts as relaxed, eV/Å."),
    setting(RelaxSettings, "steps", "Most steps to take."),
    setting(RelaxSettings, "optimizer", "Optimizer.", choices=OPTIMIZERS),
    setting(RelaxSettings, "cell", "What of the cell moves.", choices=CELL_MODES),
    setting(RelaxSettings, "pressure_GPa", "External pressure on the cell, GPa."),
    setting(RelaxSettings, "fix_symmetry", "Keep the space group."),
)
@gather(
    _RunOptions,
    "run",
    click.option(
        "--fix", multiple=True, help='Atoms to hold fixed: "0-9,15", "Pt" or "z<5"; repeatable.'
    ),
    click.option(
        "--trajectory",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File of every step [default: X-relax.traj].",
    ),
    click.option("--resume", is_flag=True, help="Go on with an interrupted run."),
    dry_run_option,
)
@model_options
@output_options
@report_options
def command(
    inputs: tuple[str, ...],
    settings: RelaxSettings,
    run: _RunOptions,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Relax atoms, and the cell if asked.

    For one structure X it writes X-relaxed.extxyz, X-relax.traj and X-relax.json; for several
    relaxed.extxyz and relax.jsonl, each growing as a structure is done.
    """
    reader = Inputs(inputs)
    with stop_on_signals() as stop:
        job = _Job(settings, run, model, output, report, stop)
        if not reader.any():
            return ExitCode.ERROR
        if run.dry_run:
            steps = max(settings.steps, 1)
            calculator = session.load_calculator(model)
            preview(list(reader), calculator, steps=steps, as_json=report.as_json)
            return ExitCode.ERROR if reader.failed else ExitCode.DONE
        only = reader.only()
        return _relax_many(job, reader) if only is None else _relax_one(job, only)


def _relax_one(job: _Job, source: "Source") -> ExitCode:
    folder, name = job.output.output_dir, source.name
    files = {
        "structure": job.output.output or folder / f"{name}-relaxed.extxyz",
        "trajectory": job.run.trajectory or folder / f"{name}-relax.traj",
        "summary": folder / f"{name}-relax.json",
    }
    resumes = job.run.resume and files["trajectory"].exists()
    check_free(files.values(), job.output, replace=resumes)
    began = session.now()
    calculator = session.load_calculator(job.model)
    atoms = _prepare(job, source, calculator)
    make_folder(job.output)
    with session.naming(source.label), _progress(job, source) as progress:
        result = relax(
            atoms,
            calculator=calculator,
            settings=job.settings,
            trajectory=files["trajectory"],
            resume=resumes,
            overwrite=job.output.overwrite,
            observer=_observer(progress),
            stop=job.stop,
        )
    structures.write(files["structure"], result.atoms, overwrite=True)
    summary = {
        "command": "relax",
        "started": began,
        **session.provenance(calculator.potential),
        "settings": dataclasses.asdict(job.settings) | {"fix": list(job.run.fix)},
        "files": {kind: str(path) for kind, path in files.items()},
        **_record(source, result),
    }
    write_json(files["summary"], summary)
    if job.report.as_json:
        print_json(summary)
    else:
        click.echo(f"{_sentence(source, result)}; wrote {files['structure']}")
    return _code(result)


def _relax_many(job: _Job, reader: Inputs) -> ExitCode:
    folder = job.output.output_dir
    stream = RelaxStream(
        job.output.output or folder / "relaxed.extxyz",
        folder / "relax.jsonl",
        resume=job.run.resume,
    )
    if job.run.trajectory is not None:
        raise OptionError("--trajectory takes one structure; leave it out, or give one INPUT")
    stream.refuse_inputs(reader.specs)
    check_free(stream.paths, job.output, replace=stream.resumes)
    began = session.now()
    calculator = session.load_calculator(job.model)
    stream.require_model(calculator.potential)
    make_folder(job.output)
    code = ExitCode.DONE
    with stream:
        for source in stream.rest(reader):
            try:
                code = max(code, _relax_into(stream, job, source, calculator))
            except (StructureError, OptionError) as error:
                reader.pass_over(error)
            if job.stop():
                code = ExitCode.INTERRUPTED
                break
    if job.report.as_json:
        print_json(
            {
                "command": "relax",
                "started": began,
                **session.provenance(calculator.potential),
                "settings": dataclasses.asdict(job.settings) | {"fix": list(job.run.fix)},
                "results": stream.records,
                "failed": reader.failed,
            }
        )
    return ExitCode.ERROR if reader.failed and code != ExitCode.INTERRUPTED else code


def _relax_into(
    stream: RelaxStream, job: _Job, source: "Source", calculator: "TDNCalculator"
) -> ExitCode:
    """Relax one of several and add it to the stream, unless it was interrupted."""
    atoms = _prepare(job, source, calculator)
    with session.naming(source.label), _progress(job, source) as progress:
        result = relax(
            atoms,
            calculator=calculator,
            settings=job.settings,
            observer=_observer(progress),
            stop=job.stop,
        )
    if result.reason != "stopped":
        stream.append(result.atoms, _record(source, result))
    if not job.report.as_json:
        click.echo(_sentence(source, result))
    return _code(result)


def _prepare(job: _Job, source: "Source", calculator: "TDNCalculator") -> "Atoms":
    """Give a copy of the structure with its fixed atoms, if the model knows its elements."""
    potential = calculator.potential
    atoms: Atoms = source.atoms.copy()
    structures.check_elements(atoms.numbers, potential.elements, potential.name, source.label)
    with session.naming(source.label):
        fixed = [parse_fix(spec, atoms) for spec in job.run.fix]
    atoms.set_constraint([*atoms.constraints, *fixed])
    return atoms


def _progress(job: _Job, source: "Source") -> Progress:
    return Progress(source.label, job.settings.steps, quiet=job.report.quiet)


def _observer(progress: Progress) -> Callable[[RelaxStep], None]:
    def observe(now: RelaxStep) -> None:
        stress = "" if now.max_stress_GPa is None else f"  {now.max_stress_GPa:.3f} GPa"
        progress.show(now.step, f"{now.energy:.4f} eV  fmax {now.fmax:.4f} eV/Å{stress}")

    return observe


def _record(source: "Source", result: RelaxResult) -> dict[str, Any]:
    stress = result.stress_GPa
    return {
        "input": source.label,
        "n_atoms": len(result.atoms),
        "converged": result.converged,
        "reason": result.reason,
        "steps": result.steps,
        "energy_eV": result.energy,
        "fmax_eV_per_A": result.fmax,
        "stress_GPa": None if stress is None else [float(s) for s in stress],
        "seconds": result.seconds,
    }


def _sentence(source: "Source", result: RelaxResult) -> str:
    how = f"converged in {result.steps} steps" if result.converged else result.reason
    return (
        f"{source.label}: {how}, energy {result.energy:.6f} eV, fmax {result.fmax:.4f} eV/Å, "
        f"{duration(result.seconds)}"
    )


def _code(result: RelaxResult) -> ExitCode:
    if result.converged:
        return ExitCode.DONE
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.NOT_CONVERGED
