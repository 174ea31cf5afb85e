"""The command ``tdn`` itself: its commands, loaded when they are asked for, and its way out."""

import importlib
import io
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import click
from click.shell_completion import CompletionItem

import tdncalc
from tdncalc.cli.failures import Console, ExitCode, WarningLines, fail, show_warning
from tdncalc.cli.signals import terminate_as_interrupt

COMMANDS = {
    "energy": "Energy, largest force and pressure of each structure.",
    "relax": "Relax atoms, and the cell if asked.",
    "md": "Run molecular dynamics.",
    "report": "Show runs in one HTML file: 3D, plots, provenance.",
    "convert": "Write structures and trajectories in another format.",
    "models": "Tell what models are bundled and whether they are intact; import others.",
    "selftest": "Check the physics of a model on this machine.",
    "train": "Train a model on reference data.",
    "evaluate": "Measure a model's errors on reference data.",
    "benchmark": "Measure on this machine what networks are built of.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the module of the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``tdncalc.cli.<name>`` and give its command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tdncalc.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command without importing any."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'tdn COMMAND --help' shows the options of a command.",
)
@click.version_option(tdncalc.__version__, prog_name="tdn")
def tdn() -> None:
    """Energies, relaxations and molecular dynamics with tensor decomposition networks."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args
        The arguments after the name of the program; those of the process if None.

    Returns
    -------
    int
        The exit code: 0 done, 1 error, 2 usage, 3 not converged, 4 stopped by a guard,
        130 interrupted.
    """
    # Threads that spin while they wait make small systems ten times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] if args is None else args
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        _escape_unknown_letters(stream)
    console = Console(command_line=shlex.join(["tdn", *arguments]))
    logger, warnings_shown = logging.getLogger("tdncalc"), WarningLines(logging.WARNING)
    logger.addHandler(warnings_shown)
    with terminate_as_interrupt(), warnings.catch_warnings():
        warnings.showwarning = show_warning
        try:
            code = tdn.main(args, prog_name="tdn", obj=console, standalone_mode=False)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the last line of defense
            code = fail(error, verbose=console.verbose)
        finally:
            logger.removeHandler(warnings_shown)
    return int(code or ExitCode.DONE)


def _replace_closed_streams() -> None:
    """Open what the shell has closed (``2>&-``); a file of results would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the process ends


def _escape_unknown_letters(stream: TextIO) -> None:
    """Let a stream escape what its encoding has no letter for, where it would raise an error."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
