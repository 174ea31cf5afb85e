"""``tdn convert``: structures and trajectories from one format to another."""

from pathlib import Path

import click

from tdncalc import structures
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import (
    OutputOptions,
    ReportOptions,
    inputs_argument,
    one_output_options,
    report_options,
)
from tdncalc.cli.outputs import check_format, check_free, print_json, refuse_inputs
from tdncalc.wording import counted


@click.command("convert")
@inputs_argument
@one_output_options
@report_options
def command(inputs: tuple[str, ...], output: OutputOptions, report: ReportOptions) -> ExitCode:
    """Write structures and trajectories in another format.

    The extension of -o says which: .extxyz and .traj keep everything; .dcd and .xtc are for
    viewers, which take the elements from a structure file: tdn convert run.traj@0 -o run.pdb.
    """
    target = output.output
    if target is None:
        raise click.UsageError("Give -o FILE; its extension says the format")
    check_format(target)
    reader = Inputs(inputs)
    refuse_inputs([target], reader.names)
    check_free([target], output)
    frames = [source.atoms for source in reader]
    if not frames:
        return ExitCode.ERROR
    structures.write(target, frames, overwrite=output.overwrite)
    _tell(target, len(frames), reader.failed, report)
    return ExitCode.ERROR if reader.failed else ExitCode.DONE


def _tell(target: Path, count: int, failed: list[str], report: ReportOptions) -> None:
    if report.as_json:
        facts = {"command": "convert", "output": str(target), "frames": count, "failed": failed}
        print_json(facts)
    elif not report.quiet:
        click.echo(f"wrote {counted(count, 'frame')} to {target}")
