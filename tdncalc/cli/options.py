"""The options that mean the same in every command, defined once."""

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from tdncalc.cli.failures import Console, ExitCode
from tdncalc.errors import OptionError

# The exact ones are of published networks only.
PRODUCTS = ("dense", "cp", "cg", "exact-dense", "exact-cp")

Command = Callable[..., ExitCode]
Decorator = Callable[[Command], Command]
Group = TypeVar("Group")


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where it runs and how precisely.

    Attributes
    ----------
    model
        The name of a bundled model or the path of a model folder.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
    dtype
        ``float32`` or ``float64``.
    product
        How tensor products are evaluated; as the model's card says if None.
    evaluation
        ``auto``, ``eager`` or ``compiled``.
    threads
        How many CPU threads torch may use; its own choice if None.
    dispersion
        The functional whose dispersion is added, if any.
    """

    model: str
    device: str
    dtype: str
    product: str | None
    evaluation: str
    threads: int | None
    dispersion: str | None


@dataclass(frozen=True)
class OutputOptions:
    """Where results go.

    Attributes
    ----------
    output
        The file of the resulting structures, if the user named one.
    output_dir
        The folder of every other file.
    overwrite
        Whether files that exist are replaced.
    """

    output: Path | None
    output_dir: Path
    overwrite: bool


@dataclass(frozen=True)
class ReportOptions:
    """How a command speaks.

    Attributes
    ----------
    verbose
        Whether a failure shows its traceback.
    quiet
        Whether progress is silent.
    as_json
        Whether the result is one JSON object on standard output.
    """

    verbose: bool
    quiet: bool
    as_json: bool


def gather(
    cls: type[Group], name: str, *options: Decorator, preset: Mapping[str, object] | None = None
) -> Decorator:
    """Make a decorator that adds ``options`` to a command and hands it their values as one object.

    Parameters
    ----------
    cls
        A dataclass; each field is the value of an option.
    name
        The argument of the command that receives the object.
    options
        What ``click.option`` gives.
    preset
        Values of the fields that are no options.
    """
    preset = preset or {}
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    asked = [field for field in fields if field not in preset]

    def decorate(command: Command) -> Command:
        def gather_values(**values: Any) -> ExitCode:  # noqa: ANN401 - whatever click has parsed
            given = {field: values.pop(field) for field in asked}
            try:
                group = cls(**given, **preset)
            except OptionError as error:
                raise OptionError(_as_typed(str(error), asked)) from error
            return command(**values, **{name: group})

        gathered: Command = functools.update_wrapper(gather_values, command)
        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return decorate


def setting(
    cls: type[object],
    field: str,
    text: str,
    *,
    choices: Sequence[str] | None = None,
    kind: Callable[[str], object] | None = None,
) -> Decorator:
    """Make the option of a dataclass' field, with its default and its name without the unit.

    Parameters
    ----------
    cls
        The dataclass.
    field
        Its field: ``temperature_K`` becomes ``--temperature``.
    text
        The help.
    choices
        The only values allowed.
    kind
        What reads a value; else the type of the default does.
    """
    default = next(f.default for f in dataclasses.fields(cls) if f.name == field)  # type: ignore[arg-type]
    is_flag = isinstance(default, bool)
    return click.option(
        option_name(field),
        field,
        type=click.Choice(choices) if choices else kind or type(default),
        default=default,
        is_flag=is_flag,
        show_default=not is_flag,
        help=text,
    )


def option_name(field: str) -> str:
    """Turn the name of a setting into that of its option: no unit, hyphens."""
    return "--" + re.sub(r"(_per)?_(K|GPa|fs)$", "", field).replace("_", "-")


def _as_typed(message: str, fields: Collection[str]) -> str:
    """Write ``temperature_K=-5`` as the user typed it: ``--temperature -5``."""
    named = "|".join(map(re.escape, fields))
    return re.sub(rf"\b({named})=", lambda match: f"{option_name(match[1])} ", message)


def _remember_verbose(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    ctx.ensure_object(Console).verbose = value
    if value:
        _tell_decisions(ctx)
    return value


def _tell_decisions(ctx: click.Context) -> None:
    """Let the library say on standard error what it decides, until the command ends."""
    logger, handler = logging.getLogger("tdncalc"), logging.StreamHandler()
    before = logger.level
    handler.addFilter(lambda record: record.levelno < logging.WARNING)  # those are told anyway
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def forget() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    ctx.call_on_close(forget)


inputs_argument = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads [default: torch's choice]."
)

_model_options = (
    click.option(
        "--model",
        default="organic",
        show_default=True,
        metavar="NAME|PATH",
        help="Bundled model or model folder.",
    ),
    device_option,
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="Precision of the network.",
    ),
    click.option(
        "--product",
        type=click.Choice(PRODUCTS),
        help="Evaluation of tensor products [default: the model's].",
    ),
    click.option(
        "--evaluation",
        type=click.Choice(["auto", "eager", "compiled"]),
        default="auto",
        show_default=True,
        help="PyTorch, a kernel compiled once for this machine, or whichever is ready.",
    ),
    threads_option,
)

# For commands that look at the network alone.
model_options = gather(ModelOptions, "model", *_model_options, preset={"dispersion": None})

dispersed_model_options = gather(
    ModelOptions,
    "model",
    *_model_options,
    click.option(
        "--dispersion",
        metavar="FUNCTIONAL",
        help="Add D3(BJ) of this functional, as pbe, to a model whose theory lacks dispersion.",
    ),
)

_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the result; its extension says the format.",
)
_overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist.")

output_options = gather(
    OutputOptions,
    "output",
    _output_option,
    click.option(
        "--output-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(),
        help="Folder of all other files [default: the current one].",
    ),
    _overwrite_option,
)

# For commands that write no other file.
one_output_options = gather(
    OutputOptions, "output", _output_option, _overwrite_option, preset={"output_dir": Path()}
)

report_options = gather(
    ReportOptions,
    "report",
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        callback=_remember_verbose,
        help="Show the traceback of an error.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    click.option(
        "-j", "--json", "as_json", is_flag=True, help="Print the result as one JSON object."
    ),
)

max_novelty_option = click.option(
    "--max-novelty",
    type=float,
    help="Stop when an atom is as unlike the training set as this; above 1 is its outermost 0.5 % "
    "or less.",
)

plot_option = click.option(
    "--plot", is_flag=True, help="Draw the run into a PNG file; with --resume also a finished one."
)

fix_option = click.option(
    "--fix", multiple=True, help='Atoms to hold fixed: "0-9,15", "Pt" or "z<5"; repeatable.'
)

dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be done, with estimated time and memory, and do nothing.",
)
