"""How ``tdn`` ends: its exit codes, and every failure told in one line."""

import contextlib
import enum
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from tdncalc.errors import OptionError, TDNError
from tdncalc.model_warnings import unlike_training

if TYPE_CHECKING:
    from ase import Atoms


class ExitCode(enum.IntEnum):
    """What the exit code of ``tdn`` means."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_CONVERGED = 3
    GUARD = 4
    INTERRUPTED = 130


@dataclass
class Console:
    """One call of ``tdn``: what was typed, and what the way out must know of the options.

    Attributes
    ----------
    command_line
        What was typed, quoted for a shell.
    verbose
        Whether a failure shows its traceback.
    """

    command_line: str = ""
    verbose: bool = False


def fail(error: BaseException, *, verbose: bool) -> ExitCode:
    """Tell of an error in one line on standard error and give its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return ExitCode.USAGE
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left (``tdn energy ... | head``): nobody is there to tell.
        _silence(sys.stdout)
        return ExitCode.ERROR
    if verbose:
        traceback.print_exception(error)
    message, code = _describe(error)
    complain(message)
    return code


def complain(message: str) -> None:
    """Write ``Error: message`` as one line on standard error."""
    say(f"Error: {one_line(message)}")


def warn(message: str) -> None:
    """Write ``Warning: message`` as one line on standard error."""
    say(f"Warning: {one_line(message)}")


def say(message: str) -> None:
    """Write a line on standard error, if somebody is there to read it."""
    with heard_or_not(sys.stderr):
        click.echo(message, err=True)


@contextlib.contextmanager
def heard_or_not(stream: TextIO) -> Iterator[None]:
    """Go on in silence where a terminal was closed or a reader has left: no run ends of that."""
    try:
        yield
    except OSError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Send to nowhere what is written from now on, and what could not be."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn_of_novelty(label: str, atoms: "Atoms") -> None:
    """Warn, in one line, of a structure with results that is unlike the model's training set."""
    if text := unlike_training(atoms):
        warn(f"{label}: {text}")


def named(label: str, error: TDNError) -> TDNError:
    """Put the name of a structure before what is wrong with it."""
    text = str(error).removeprefix("structure: ")
    return type(error)(text if label in text else f"{label}: {text}")


def one_line(text: str) -> str:
    """Put a text on one line."""
    return " ".join(text.split())


class WarningLines(logging.Handler):
    """Show what the library warns of, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        warn(record.getMessage())


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a Python warning as one line, without the place in the code that users cannot read."""
    if not issubclass(category, DeprecationWarning | FutureWarning):
        warn(str(message))


def _describe(error: BaseException) -> tuple[str, ExitCode]:
    match error:
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "tdn"
            return f"{error.format_message().rstrip('.')}; see '{path} --help'", ExitCode.USAGE
        case click.ClickException():
            return error.format_message(), ExitCode.ERROR
        case KeyboardInterrupt() | click.Abort():
            return "interrupted", ExitCode.INTERRUPTED
        case OptionError():
            return str(error), ExitCode.USAGE
        case TDNError():
            return str(error), ExitCode.ERROR
        case MemoryError():
            return "out of memory; try a smaller structure or fewer at once", ExitCode.ERROR
        case OSError(strerror=str(reason)):
            return f"{error.filename}: {reason}" if error.filename else reason, ExitCode.ERROR
    what = f"unexpected {type(error).__name__}: {error}"
    return f"{what}; the option -v shows where", ExitCode.ERROR
