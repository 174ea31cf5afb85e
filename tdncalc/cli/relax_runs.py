"""The relaxation of one structure with all its files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode, warn, warn_of_novelty
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
from tdncalc.cli.session import Session
from tdncalc.cli.signals import Stop
from tdncalc.errors import OptionError
from tdncalc.wording import counted
from tdncalc.workflows.constraints import fix_atoms
from tdncalc.workflows.relax import RelaxResult, RelaxSettings, RelaxStep, relax

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.structures import Source


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What of a relaxation is no physics.

    Attributes
    ----------
    fix
        Descriptions of atoms to hold fixed.
    trajectory
        The file of every step, if the user named one.
    resume
        Whether to go on with an earlier run.
    plot
        Whether to draw the run.
    dry_run
        Whether to estimate only.
    dask
        The scheduler of the cluster that relaxes, if any.
    """

    fix: tuple[str, ...]
    trajectory: Path | None
    resume: bool
    plot: bool
    dry_run: bool
    dask: str | None


@dataclasses.dataclass(frozen=True)
class Job:
    """One call of the command."""

    inputs: tuple[str, ...]
    settings: RelaxSettings
    run: RunOptions
    model: ModelOptions
    output: OutputOptions
    report: ReportOptions
    stop: Stop


def relax_one(job: Job, source: "Source") -> ExitCode:
    """Relax one structure into its own files."""
    folder, name = job.output.output_dir, source.name
    files = {
        "structure": job.output.output or folder / f"{name}-relaxed.extxyz",
        "trajectory": job.run.trajectory or folder / f"{name}-relax.traj",
        "summary": folder / f"{name}-relax.json",
    }
    picture = folder / f"{name}-relax.png"
    if job.run.plot:
        files["plot"] = picture
    resumes = job.run.resume and files["trajectory"].exists()
    check_format(files["structure"], source.atoms)
    refuse_inputs(files.values(), job.inputs)
    if files["trajectory"].suffix != ".traj":
        raise OptionError(f"--trajectory {files['trajectory']}: its name must end in .traj")
    check_free(files.values(), job.output, replace=resumes)
    model = session.begin(job.model)
    atoms = prepare(job, source, model)
    make_folder(job.output)
    if not resumes:
        remove_old(picture, job.output)
    with session.naming(source.label), _progress(job, source) as progress:
        result = relax(
            atoms,
            calculator=model.calculator,
            settings=job.settings,
            trajectory=files["trajectory"],
            resume=resumes,
            overwrite=job.output.overwrite,
            observer=_observer(progress),
            stop=job.stop,
        )
    tell(source, result)
    structures.write(files["structure"], result.atoms, overwrite=True)
    summary = {
        **facts(job, model),
        "files": {kind: str(path) for kind, path in files.items()},
        **record(source, result),
    }
    write_json(files["summary"], summary)
    if job.run.plot:
        from tdncalc.workflows.run_plot import plot_relaxation  # with it comes matplotlib

        title = f"{source.label}: {result.reason}"
        fmax = job.settings.fmax
        plot_relaxation(files["trajectory"], picture, title=title, fmax=fmax)
    if job.report.as_json:
        print_json(summary)
    else:
        click.echo(f"{sentence(source, result)}; wrote {files['structure']}")
    return _code(result)


def prepare(job: Job, source: "Source", model: Session) -> "Atoms":
    """Give a copy of the structure with its fixed atoms, if the model knows its elements."""
    potential = model.potential
    atoms: Atoms = source.atoms.copy()
    structures.check_elements(atoms.numbers, potential.elements, potential.name, source.label)
    with session.naming(source.label):
        fix_atoms(atoms, job.run.fix)
    return atoms


def _progress(job: Job, source: "Source") -> Progress:
    return Progress(source.label, job.settings.steps, quiet=job.report.quiet)


def _observer(progress: Progress) -> Callable[[RelaxStep], None]:
    def observe(now: RelaxStep) -> None:
        stress = "" if now.max_stress_GPa is None else f"  {now.max_stress_GPa:.3f} GPa"
        progress.show(now.step, f"{now.energy:.4f} eV  fmax {now.fmax:.4f} eV/Å{stress}")

    return observe


def facts(job: Job, model: Session) -> dict[str, Any]:
    """Say what all relaxations of a call have in common."""
    settings = dataclasses.asdict(job.settings) | {"fix": list(job.run.fix)}
    return {"command": "relax", **model.facts(), "settings": settings}


def record(source: "Source", result: RelaxResult) -> dict[str, Any]:
    """Say what is to be known of one relaxation."""
    stress, moved = result.stress_GPa, result.moved_apart
    return {
        "input": source.label,
        "n_atoms": len(result.atoms),
        "converged": result.converged,
        "reason": result.reason,
        "steps": result.steps,
        "energy_eV": result.energy,
        "fmax_eV_per_A": result.fmax,
        "novelty": result.atoms.info.get("novelty"),
        "moved_apart": None if moved is None else dataclasses.asdict(moved),
        "stress_GPa": None if stress is None else [float(s) for s in stress],
        "seconds": result.seconds,
    }


def tell(source: "Source", result: RelaxResult) -> None:
    """Warn of atoms that were moved before, and of those that are unlike the training set."""
    if result.moved_apart is not None:
        warn(f"{source.label}: {result.moved_apart}")
    warn_of_novelty(source.label, result.atoms)


def sentence(source: "Source", result: RelaxResult) -> str:
    """Say for a person how a relaxation ended."""
    how = f"converged in {counted(result.steps, 'step')}" if result.converged else result.reason
    return (
        f"{source.label}: {how}, energy {result.energy:.6f} eV, fmax {result.fmax:.4f} eV/Å, "
        f"{duration(result.seconds)}"
    )


def _code(result: RelaxResult) -> ExitCode:
    if result.converged:
        return ExitCode.DONE
    if result.reason.startswith("guard: "):
        return ExitCode.GUARD
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.NOT_CONVERGED
