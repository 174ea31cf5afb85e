"""The options of ``tdn md`` that are no plain numbers."""

import dataclasses
import re

import click

from tdncalc.cli.options import dry_run_option, fix_option, gather, plot_option
from tdncalc.errors import OptionError
from tdncalc.workflows.md_settings import Ramp
from tdncalc.workflows.wall_time import NUMBER, WallTime

_MOST_STEPS = 2**53
_FEMTOSECONDS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What of a run is no physics, and its length as typed.

    Attributes
    ----------
    steps, time
        Either of them.
    wall_time
        The limit of wall time, if there is one; it counts from when it was read.
    fix
        Descriptions of atoms to hold fixed.
    replicas
        How many runs, with seeds that differ.
    resume
        Whether to go on with an earlier run.
    plot
        Whether to draw the run.
    dry_run
        Whether to estimate only.
    """

    steps: int | None
    time: str | None
    wall_time: WallTime | None
    fix: tuple[str, ...]
    replicas: int
    resume: bool
    plot: bool
    dry_run: bool

    def length(self, timestep_fs: float) -> int:
        """Give the length of the run in steps."""
        if (self.steps is None) == (self.time is None):
            raise click.UsageError('Give exactly one of --steps N and --time "10 ps"')
        if self.time is None:
            assert self.steps is not None
            return self.steps
        typed = re.fullmatch(rf"\s*({NUMBER})\s*(fs|ps|ns)\s*", self.time)
        if typed is None:
            raise click.UsageError(f"--time {self.time!r} is not a time in fs, ps or ns: '10 ps'")
        exact = float(typed[1]) * _FEMTOSECONDS[typed[2]] / timestep_fs
        if not exact < _MOST_STEPS:
            raise click.UsageError(
                f"--time {self.time!r} is {exact:.3g} steps of {timestep_fs:g} fs, too many"
            )
        steps = round(exact)
        if steps == 0:
            raise click.UsageError(
                f"--time {self.time!r} is less than a step of {timestep_fs:g} fs"
            )
        return steps


def number_or_ramp(value: str | float) -> float | Ramp:
    """Read a number, or START:END for one that moves over the run."""
    try:
        numbers = [float(part) for part in str(value).split(":")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2:
        raise click.BadParameter(f"{value!r} is neither a number nor START:END, like 300:600")
    return Ramp(*numbers) if len(numbers) == 2 else numbers[0]


def wall_time(value: str) -> WallTime:
    """Read a wall time, and start its clock."""
    try:
        return WallTime(value)
    except OptionError as error:
        raise click.BadParameter(str(error)) from error


run_options = gather(
    RunOptions,
    "run",
    click.option(
        "--steps", type=click.IntRange(min=0), help="Length of the run in steps; or --time."
    ),
    click.option("--time", help='Length of the run as a time: "10 ps".'),
    click.option(
        "--wall-time",
        type=wall_time,
        metavar="TIME",
        help='Stop with a checkpoint before "23h50m", "90 min" or "1-02:30:00" have passed since '
        "the command began.",
    ),
    fix_option,
    click.option(
        "--replicas",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Runs with seeds that differ, computed together.",
    ),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint."),
    plot_option,
    dry_run_option,
)
