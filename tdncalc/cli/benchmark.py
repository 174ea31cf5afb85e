"""``tdn benchmark``: measure on this machine what networks are built of."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc.cli.failures import ExitCode, say
from tdncalc.cli.options import ReportOptions, device_option, gather, report_options, threads_option
from tdncalc.cli.outputs import print_json, write_json, write_text
from tdncalc.errors import OptionError, OutputError
from tdncalc.wording import counted

if TYPE_CHECKING:
    from tdncalc.laboratory.catalogue import Entry
    from tdncalc.laboratory.measure import Setting

_SUFFIXES = (".csv", ".json", ".png")


@dataclass(frozen=True)
class SweepOptions:
    """What is measured.

    Attributes
    ----------
    l_max, channels
        Lists as typed.
    edges, operand, dtype, repeats
        As in a setting.
    products
        Names of products or groups, all if empty.
    """

    l_max: str
    channels: str
    edges: int
    operand: str
    dtype: str
    repeats: int
    products: tuple[str, ...]


@dataclass(frozen=True)
class FileOptions:
    """Where results go.

    Attributes
    ----------
    outputs
        Files; the extension says the format.
    overwrite
        Whether files that exist are replaced.
    """

    outputs: tuple[Path, ...]
    overwrite: bool


sweep_options = gather(
    SweepOptions,
    "sweep",
    click.option("--l-max", default="1..3", show_default=True, metavar="LIST",
                 help="Largest degrees, such as 1,2,4 or 1..6."),
    click.option("--channels", default="64", show_default=True, metavar="LIST",
                 help="Channels of the first operand."),
    click.option("--edges", type=click.IntRange(min=1), default=1000, show_default=True,
                 help="Pairs of operands."),
    click.option("--operand", type=click.Choice(["one", "many"]), default="one", show_default=True,
                 help="Channels of the second operand: one, the harmonics of an edge, or many."),
    click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32",
                 show_default=True, help="Precision."),
    click.option("--repeats", type=click.IntRange(min=5), default=7, show_default=True,
                 help="Measurements of each product; the median counts."),
    click.option("--product", "products", multiple=True, metavar="NAME",
                 help="Only this product or group; repeatable."),
)  # fmt: skip

file_options = gather(
    FileOptions,
    "files",
    click.option("-o", "--output", "outputs", multiple=True,
                 type=click.Path(dir_okay=False, path_type=Path),
                 help="Also write a .csv, .json or .png (a plot); repeatable."),
    click.option("--overwrite", is_flag=True, help="Replace files that exist."),
)  # fmt: skip


@click.group("benchmark")
def command() -> None:
    """Measure on this machine what networks are built of."""


@command.command("products")
@sweep_options
@device_option
@threads_option
@file_options
@report_options
def products(
    sweep: SweepOptions, device: str, threads: int | None, files: FileOptions, report: ReportOptions
) -> ExitCode:
    """Compare tensor products: time, memory, work, errors, and what each can express.

    Products are grouped by the map that they compute: only times within a group can be compared.
    What is not defined or too large is reported with the reason. Ctrl-C keeps the settings that are
    done.
    """
    degrees, channels = _numbers("--l-max", sweep.l_max), _numbers("--channels", sweep.channels)
    _check_files(files)
    import torch

    from tdncalc.laboratory.catalogue import MAPS, chosen_entries
    from tdncalc.laboratory.report import NOTES, machine

    _check_degrees(degrees)
    entries = chosen_entries(sweep.products)
    if threads is not None:
        torch.set_num_threads(threads)
    settings = list(_settings(sweep, device, degrees, channels))
    where = machine(settings[0].device)
    if not report.as_json:
        click.echo(f"{where}\n")
    found = _sweep(entries, settings, report)
    complete = len(found) == len(settings)
    result = {
        "machine": where,
        "maps": MAPS,
        "notes": NOTES,
        "reason": "done" if complete else "stopped",
        "measurements": [record for records in found for record in records],
    }
    if report.as_json:
        print_json(result)
    else:
        click.echo(NOTES)
    for path in files.outputs:
        _write(path, result)
    if not complete:
        wrote = f"; wrote {', '.join(map(str, files.outputs))}" if files.outputs else ""
        done = f"{len(found)} of {counted(len(settings), 'setting')}"
        say(f"\nstopped: {done} measured{wrote}")  # below the ^C of a terminal
    return ExitCode.DONE if complete else ExitCode.INTERRUPTED


def _sweep(
    entries: Sequence["Entry"], settings: Sequence["Setting"], report: ReportOptions
) -> list[list[dict[str, Any]]]:
    """Measure one setting after another, until the last or an interrupt after the first."""
    found: list[list[dict[str, Any]]] = []
    try:
        for setting in settings:
            found.append(_measured(entries, setting, report))
    except KeyboardInterrupt:
        if not found:
            raise
    return found


def _measured(
    entries: Sequence["Entry"], setting: "Setting", report: ReportOptions
) -> list[dict[str, Any]]:
    from tdncalc.laboratory.measure import measure
    from tdncalc.laboratory.report import records, table

    rows = measure(entries, setting)
    if not report.as_json:
        click.echo(table(setting, rows) + "\n")
    return records(setting, rows)


def _settings(
    sweep: SweepOptions, device: str, degrees: Sequence[int], channels: Sequence[int]
) -> Iterator["Setting"]:
    import torch

    from tdncalc.checkpoint import find_device
    from tdncalc.laboratory.measure import Setting

    place = find_device(device)
    for n_channels in channels:
        for l_max in degrees:
            yield Setting(
                l_max=l_max,
                channels=n_channels,
                edges=sweep.edges,
                many=sweep.operand == "many",
                device=place,
                dtype=getattr(torch, sweep.dtype),
                repeats=sweep.repeats,
            )


def _numbers(option: str, text: str) -> list[int]:
    """Read ``1,2,4..6`` as [1, 2, 4, 5, 6]; all at least 1."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,6})(?:\.\.(-?\d{1,6}))?\s*", part)
        if match is None:
            raise OptionError(
                f"{option} {text} is no list of numbers; give one such as 1,2 or 1..4"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        numbers += range(first, last + 1)
    if not numbers or min(numbers) < 1:
        raise OptionError(f"{option} {text} is not allowed; give numbers from 1 on, such as 1..4")
    return list(dict.fromkeys(numbers))


def _check_degrees(degrees: Sequence[int]) -> None:
    from tdncalc.laboratory.catalogue import MAX_DEGREE

    if max(degrees) > MAX_DEGREE:
        raise OptionError(f"--l-max {max(degrees)} is too large; give 1 to {MAX_DEGREE}")


def _check_files(files: FileOptions) -> None:
    from tdncalc.structures import require_new

    for path in files.outputs:
        if path.suffix.lower() not in _SUFFIXES:
            raise OptionError(
                f"-o {path} has no format that is known; allowed: {', '.join(_SUFFIXES)}"
            )
    require_new(files.outputs, overwrite=files.overwrite)


def _write(path: Path, result: dict[str, Any]) -> None:
    from tdncalc.laboratory.plot import draw
    from tdncalc.laboratory.report import csv_text

    match path.suffix.lower():
        case ".csv":
            write_text(path, csv_text(result["measurements"]))
        case ".json":
            write_json(path, result)
        case _:
            try:
                draw(path, result["measurements"], result["machine"])
            except OSError as error:
                why = error.strerror or error
                raise OutputError(f"{path}: cannot be written ({why})") from error
