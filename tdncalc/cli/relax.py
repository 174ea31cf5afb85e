"""``tdn relax``: relax the atoms of structures, and their cells."""

from pathlib import Path

import click

from tdncalc.cli import session
from tdncalc.cli.cluster import dask_option
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dispersed_model_options,
    dry_run_option,
    fix_option,
    gather,
    inputs_argument,
    max_novelty_option,
    output_options,
    plot_option,
    report_options,
    setting,
)
from tdncalc.cli.preview import preview
from tdncalc.cli.relax_many import relax_all, structures_of
from tdncalc.cli.relax_runs import Job, RunOptions, relax_one
from tdncalc.cli.signals import stop_on_signals
from tdncalc.workflows.relax import RelaxSettings
from tdncalc.workflows.relax_settings import CELL_MODES, OPTIMIZERS


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
    max_novelty_option,
)
@gather(
    RunOptions,
    "run",
    fix_option,
    click.option(
        "--trajectory",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File of every step [default: X-relax.traj].",
    ),
    click.option("--resume", is_flag=True, help="Go on with an interrupted run."),
    plot_option,
    dry_run_option,
    dask_option,
)
@dispersed_model_options
@output_options
@report_options
def command(
    inputs: tuple[str, ...],
    settings: RelaxSettings,
    run: RunOptions,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Relax atoms, and the cell if asked.

    For one structure X it writes X-relaxed.extxyz, X-relax.traj and X-relax.json. Several are
    relaxed together and go to relaxed.extxyz and relax.jsonl, in the order in which they are done.
    """
    reader = Inputs(inputs, structures_of(output))
    with stop_on_signals() as stop:
        job = Job(inputs, settings, run, model, output, report, stop)
        if not reader.any():
            return ExitCode.ERROR
        if run.dry_run:
            most = settings.steps + 1  # that of the start counts
            loaded = session.begin(model)
            preview(
                list(reader), loaded, evaluations=most, as_json=report.as_json, at_most=most > 1
            )
            return ExitCode.ERROR if reader.failed else ExitCode.DONE
        only = reader.only() if run.dask is None else None
        return relax_all(job, reader) if only is None else relax_one(job, only)
