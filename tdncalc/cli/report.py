"""``tdn report``: one HTML file of runs."""

from datetime import UTC, datetime
from pathlib import Path

import click

from tdncalc.cli.failures import ExitCode, warn
from tdncalc.cli.options import (
    OutputOptions,
    ReportOptions,
    one_output_options,
    report_options,
)
from tdncalc.cli.outputs import check_free, print_json, require_ending, write_text

_DEFAULT = Path("report.html")


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--frames",
    type=click.IntRange(min=2),
    default=2000,
    show_default=True,
    help="Most frames of a trajectory to show; of a longer one, evenly spaced.",
)
@one_output_options
@report_options
def command(
    runs: tuple[str, ...], frames: int, output: OutputOptions, report: ReportOptions
) -> ExitCode:
    """Show runs in one HTML file: 3D, plots, provenance. It opens without a network.

    RUN is what 'tdn md', 'tdn relax' or 'tdn energy -o' wrote: a summary, trajectory, table or
    structure file, the name without its ending, a folder, or a quoted pattern. Several runs are
    compared with the first. [default of -o: report.html]
    """
    from tdncalc.report import build_page, read_runs

    path = output.output or _DEFAULT
    require_ending("-o", path, ".html", ".htm")
    check_free([path], output)
    found = read_runs(runs, max_frames=frames)
    for text in (text for run in found for text in run.warnings):
        warn(text)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = build_page(found, created=now)
    write_text(path, page)
    size = path.stat().st_size / 1e6
    names = [run.name for run in found]
    if report.as_json:
        print_json({"command": "report", "output": str(path), "runs": names, "megabytes": size})
    else:
        click.echo(f"{', '.join(names)}: wrote {path}, {size:.2f} MB")
    return ExitCode.DONE
