"""``tdn evaluate``: a model's errors on reference data."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from tdncalc.cards import require_own
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    gather,
    model_options,
    one_output_options,
    report_options,
)
from tdncalc.cli.outputs import check_free, print_json, refuse_inputs, require_ending, write_json
from tdncalc.cli.progress import Progress
from tdncalc.errors import OptionError

_HEADER = (
    f"{'mean absolute errors':24} {'structures':>10} {'atoms':>9} {'meV/atom':>12} {'meV/Å':>9}"
    f" {'meV/Å³':>8} {'cosine':>8}"
)


@dataclass(frozen=True)
class Comparison:
    """What is compared with the data: arguments of :func:`tdncalc.training.evaluate.evaluate`."""

    limit: int | None
    level: str | None
    fit_references: bool


_comparison_options = gather(
    Comparison,
    "comparison",
    click.option("--limit", type=click.IntRange(min=1), help="Use at most this many structures."),
    click.option(
        "--level", metavar="SET", help="Set of the training data whose reference level DATA has."
    ),
    click.option(
        "--fit-references",
        is_flag=True,
        help="DATA has another level of theory: compare energies after a fit per element.",
    ),
)


@click.command("evaluate")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@_comparison_options
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="Draw parity and distribution of the errors.",
)
@click.option(
    "--card",
    "entry",
    metavar="NAME",
    help="Write the errors into the card of --model FOLDER, as NAME.",
)
@model_options
@one_output_options
@report_options
def command(
    data: tuple[str, ...],
    comparison: Comparison,
    plot: Path | None,
    entry: str | None,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Measure a model's errors on reference data.

    DATA is any structure file with energies and forces, or packed .npz shards. With -o the report
    is written as JSON.
    """
    results = [path for path in (output.output, plot) if path is not None]
    refuse_inputs(results, data)
    check_free(results, output)
    if output.output is not None:
        require_ending("-o", output.output, ".json")
    if plot is not None:
        require_ending("--plot", plot, ".png")
    if entry == "":
        raise OptionError("--card is empty; give a name, such as --card test")
    if entry is not None:
        require_own(model.model, "--card")
    loaded = session.begin(model)
    # Imported here: it is heavy, and a wrong option is told of before.
    from tdncalc.checkpoint import add_errors
    from tdncalc.training.evaluate import evaluate

    with Progress("evaluate", None, quiet=report.quiet, unit="structures") as progress:
        figures = evaluate(
            loaded.potential,
            data,
            **asdict(comparison),
            plot=plot,
            observer=lambda done, total: progress.show(done, f"of {total}"),
        )
    if comparison.level is not None:
        figures["level"] = comparison.level
    facts = {
        "command": "evaluate",
        "inputs": list(data),
        **loaded.facts(),
        **figures,
    }
    if output.output is not None:
        write_json(output.output, facts)
    if entry is not None:
        add_errors(model.model, entry, {"data": [Path(name).name for name in data], **figures})
    if report.as_json:
        print_json(facts)
    else:
        _print(figures)
    return ExitCode.DONE


def _print(figures: dict[str, Any]) -> None:
    """Print the errors of all structures, of each kind, size and element as a table."""
    click.echo(_HEADER)
    sizes = {f"{name} atoms": part for name, part in figures["by_size"].items()}
    for name, part in {"all": figures, **figures["by_kind"], **sizes}.items():
        energy, forces = part["energy_MAE_meV_per_atom"], part["forces_MAE_meV_per_A"]
        click.echo(
            f"{name:24} {part['structures']:10d} {part['atoms']:9d} {energy:12.2f} {forces:9.1f}"
            f" {_number(part.get('stress_MAE_meV_per_A3'), 8, 2)}"
            f" {_number(part.get('forces_cosine'), 8, 4)}"
        )
    for name, part in figures["by_element"].items():
        click.echo(
            f"{name:24} {'':10} {part['atoms']:9d} {'':12} {part['forces_MAE_meV_per_A']:9.1f}"
        )


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
