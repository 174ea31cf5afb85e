"""``tdn evaluate``: a model's errors on reference data."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    model_options,
    output_options,
    report_options,
)
from tdncalc.cli.outputs import check_free, print_json, write_json


@click.command("evaluate")
@click.argument(
    "data", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATA..."
)
@click.option("--limit", type=click.IntRange(min=1), help="Use at most this many structures.")
@model_options
@output_options
@report_options
def command(
    data: tuple[Path, ...],
    limit: int | None,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Measure a model's errors on reference data.

    DATA is any structure file with energies and forces, or packed .npz shards. With -o the report
    is written as JSON.
    """
    if output.output is not None:
        check_free([output.output], output)
    potential = session.load_calculator(model).potential
    from tdncalc.training.evaluate import evaluate

    figures = evaluate(potential, data, limit=limit)
    facts = {
        "command": "evaluate",
        "inputs": [str(path) for path in data],
        **session.provenance(potential),
        **figures,
    }
    if output.output is not None:
        write_json(output.output, facts)
    if report.as_json:
        print_json(facts)
    else:
        _print(figures)
    return ExitCode.DONE
