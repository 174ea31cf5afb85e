"""``tdn md``: molecular dynamics of one structure."""

import dataclasses

import click

from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import read_one
from tdncalc.cli.md_many import Replicas, run_replicas
from tdncalc.cli.md_options import RunOptions, number_or_ramp, run_options
from tdncalc.cli.md_single import Ending, Job, run_one
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dispersed_model_options,
    gather,
    max_novelty_option,
    output_options,
    report_options,
    setting,
)
from tdncalc.cli.preview import preview
from tdncalc.cli.signals import stop_on_signals
from tdncalc.errors import OptionError
from tdncalc.workflows.constraints import fix_atoms
from tdncalc.workflows.md import CELL_MOTIONS, ENSEMBLES, Guards, MDSettings


@click.command("md")
@click.argument("structure", metavar="INPUT")
@run_options
@gather(
    MDSettings,
    "settings",
    setting(MDSettings, "ensemble", "What is kept constant, and how.", choices=ENSEMBLES),
    setting(
        MDSettings,
        "temperature_K",
        "Temperature, K, or a ramp: 300:600. The run begins with the velocities of INPUT if it has "
        "any.",
        kind=number_or_ramp,
    ),
    setting(
        MDSettings, "pressure_GPa", "Of the npt ensembles, GPa, or a ramp.", kind=number_or_ramp
    ),
    setting(MDSettings, "cell", "How npt-mtk moves the cell.", choices=CELL_MOTIONS),
    setting(MDSettings, "timestep_fs", "Time step, fs."),
    setting(MDSettings, "interval", "Steps between frames and rows of the table."),
    setting(MDSettings, "checkpoint_interval", "Steps between checkpoints."),
    setting(MDSettings, "friction_per_fs", "Friction of nvt-langevin, 1/fs."),
    setting(MDSettings, "thermostat_time_fs", "Time constant of the other thermostats, fs."),
    setting(MDSettings, "barostat_time_fs", "Time constant of the barostat, fs."),
    setting(MDSettings, "compressibility_per_GPa", "That npt-berendsen assumes, 1/GPa."),
    setting(MDSettings, "seed", "Seed of thermostat, and of velocities if INPUT has none."),
    setting(MDSettings, "allow_direct_forces", "Run nve on forces that are no gradient."),
    preset={"steps": 0, "guards": Guards()},
)
@gather(
    Guards,
    "guards",
    setting(Guards, "max_temperature_K", "Stop above this temperature, K."),
    setting(Guards, "max_force", "Stop above this force, eV/Å."),
    setting(Guards, "min_distance", "Stop when two atoms are closer than this, Å."),
    setting(Guards, "max_volume_ratio", "Stop when the cell grew or shrank by this factor."),
    setting(Guards, "max_gap", "Stop when a piece of a molecule is this far from all else, Å."),
    max_novelty_option,
)
@dispersed_model_options
@output_options
@report_options
def command(
    structure: str,
    run: RunOptions,
    settings: MDSettings,
    guards: Guards,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Run molecular dynamics.

    For a structure X it writes X-md.traj and X-md.csv, X-md.checkpoint to go on from with --resume,
    and X-md.json; with -o also the last structure. With --replicas each has files of its own,
    X-md-0.traj and so on.
    """
    steps = run.length(settings.timestep_fs)
    settings = dataclasses.replace(settings, steps=steps, guards=guards)
    with stop_on_signals() as stop:
        source = read_one(structure)
        with session.naming(source.label):
            fix_atoms(source.atoms, run.fix)
        job = Job(source, settings, run, output, report, Ending(stop, run.wall_time))
        if run.dry_run:
            loaded = session.begin(model)
            evaluations = (steps + 1) * run.replicas
            preview([source], loaded, evaluations=evaluations, as_json=report.as_json)
            return ExitCode.DONE
        if run.replicas > 1:
            if run.plot:
                raise OptionError("--plot takes one run; leave it out, or --replicas")
            many = Replicas(source, settings, run.replicas, run.resume, output, report, job.ending)
            return run_replicas(many, model)
        return run_one(job, model)
