"""``tdn models import``: a checkpoint of the published code becomes a model folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tdncalc.cards import eclipsed
from tdncalc.cli.failures import ExitCode, warn
from tdncalc.cli.options import PRODUCTS, ReportOptions, gather, report_options
from tdncalc.cli.outputs import print_json
from tdncalc.errors import OutputError
from tdncalc.official.settings import REFERENCES, ImportSettings


def _positive_or_all(_ctx: click.Context, _option: click.Parameter, value: int) -> int | None:
    return value or None


def _symbols(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[A-Za-z]+", value))


@click.command("import")
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT.pth")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The model folder to make.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@gather(
    ImportSettings,
    "settings",
    click.option("--cutoff", default=4.5, show_default=True, help="Å."),
    click.option(
        "--forces",
        type=click.Choice(["direct", "gradient"]),
        help="As it was trained [default: what the optimizer's state tells, else direct].",
    ),
    click.option(
        "--weights",
        type=click.Choice(["raw", "ema"]),
        default="raw",
        show_default=True,
        help="The last weights, or their moving average.",
    ),
    click.option(
        "--energy",
        type=click.Choice(["total", "per-atom"]),
        default="total",
        show_default=True,
        help="What the network's energy is; per-atom is multiplied by the number of atoms.",
    ),
    click.option(
        "--references",
        type=click.Choice(list(REFERENCES)),
        default="none",
        show_default=True,
        help="Energies of isolated atoms to add.",
    ),
    click.option(
        "--elements",
        callback=_symbols,
        default="",
        help='It was trained on, "H C N O" [default: those of the references, else H to Au].',
    ),
    click.option(
        "--max-neighbors",
        type=click.IntRange(min=0),
        callback=_positive_or_all,
        default=100,
        show_default=True,
        help="Per atom; 0 keeps all.",
    ),
    click.option(
        "--truncation",
        type=click.Choice(["with-self", "without-self"]),
        default="with-self",
        show_default=True,
        help="Whether an atom itself takes one of those places (torch-cluster up to 1.6.3).",
    ),
    click.option("--keep-isolated", is_flag=True, help="Give atoms without neighbors an energy."),
    click.option("--n-avg", default=36.6, show_default=True, help="Mean atoms in training."),
    click.option("--d-avg", default=18.6, show_default=True, help="Mean neighbors in training."),
    click.option(
        "--product",
        type=click.Choice(PRODUCTS),
        default="dense",
        show_default=True,
        help="cp and dense take the file's factors, with equal results; the others the tensor M.",
    ),
    preset={"card": {}},
)
@report_options
def import_model(
    checkpoint: Path,
    output: Path,
    overwrite: bool,
    settings: ImportSettings,
    report: ReportOptions,
) -> ExitCode:
    """Make a model folder of a checkpoint of the published code.

    Only tensors are read from the file. The result is checked as by 'tdn selftest', and what fails
    is told whenever the model is loaded.
    """
    if not overwrite and (output / "card.json").exists():
        raise OutputError(f"{output}: holds a model already; give --overwrite to replace it")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; give the folder to make")
    from tdncalc.official.importing import import_checkpoint

    card = import_checkpoint(checkpoint, output, settings)
    if name := eclipsed(str(output)):
        warn(name)
    if report.as_json:
        print_json(card)
        return ExitCode.DONE
    if card["imported"]["has_averaged_weights"] and settings.weights == "raw":
        warn(f"{checkpoint}: holds averaged weights too, which are usually better: --weights ema")
    click.echo(f"{checkpoint}: {_sentence(card)}; wrote {output}")
    _print_failures(card)
    return ExitCode.DONE


def _sentence(card: Mapping[str, Any]) -> str:
    config = card["config"]
    return (
        f"{config['n_layers']} blocks, degree {config['l_max']}, {config['channels']} channels, "
        f"{config['forces']} forces, rank {card['imported']['rank']} "
        f"(error of the product {card['coupling_residual']:.2g})"
    )


def _print_failures(card: Mapping[str, Any]) -> None:
    from tdncalc.model_warnings import failed_checks

    if failures := failed_checks(card):
        warn(failures)
