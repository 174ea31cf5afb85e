"""``tdn energy``: energy, largest force and pressure of structures as they are."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from tdncalc import structures
from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import (
    ModelOptions,
    OutputOptions,
    ReportOptions,
    dry_run_option,
    inputs_argument,
    model_options,
    one_output_options,
    report_options,
)
from tdncalc.cli.outputs import check_format, check_free, print_json
from tdncalc.cli.preview import preview
from tdncalc.cli.progress import Progress
from tdncalc.cli.signals import Stop, stop_on_signals
from tdncalc.errors import StructureError

if TYPE_CHECKING:
    from tdncalc.potential import Potential
    from tdncalc.structures import Source

_BATCH_ATOMS = 1000
_HEADER = (
    f"{'energy (eV)':>16} {'max force (eV/Å)':>17} {'pressure (GPa)':>15} {'atoms':>7}  structure"
)


@click.command("energy")
@inputs_argument
@model_options
@one_output_options
@report_options
@dry_run_option
def command(
    inputs: tuple[str, ...],
    dry_run: bool,
    model: ModelOptions,
    output: OutputOptions,
    report: ReportOptions,
) -> ExitCode:
    """Energy, largest force and pressure of each structure.

    INPUT is any structure file, FILE@INDEX (frames as in ASE), a folder, or - for extxyz from
    standard input. With -o the structures are written with their energies, forces and stresses.
    """
    if output.output is not None and not dry_run:
        check_format(output.output)
        check_free([output.output], output)
    reader = Inputs(inputs)
    with stop_on_signals() as stop:
        if not reader.any():
            return ExitCode.ERROR
        loaded = session.begin(model)
        if dry_run:
            preview(list(reader), loaded, steps=1, as_json=report.as_json)
            return _code(reader, stop)
        frames, rows = _evaluate_all(reader, loaded.potential, report, stop)
    if output.output is not None and frames:
        structures.write(output.output, frames, overwrite=output.overwrite)
    if report.as_json:
        results = {"results": rows, "failed": reader.failed, "interrupted": stop.requested}
        print_json({"command": "energy"} | loaded.facts() | results)
    return _code(reader, stop)


def _code(reader: Inputs, stop: Stop) -> ExitCode:
    if stop.requested:
        return ExitCode.INTERRUPTED
    return ExitCode.ERROR if reader.failed else ExitCode.DONE


def _evaluate_all(
    reader: Inputs, potential: "Potential", report: ReportOptions, stop: Stop
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    """Evaluate batch after batch, printing each; give the structures with results, and rows."""
    frames: list[Atoms] = []
    rows: list[dict[str, Any]] = []
    # A bar would be torn apart by the table on the same terminal.
    quiet = report.quiet or (sys.stdout.isatty() and not report.as_json)
    with Progress("energy", None, quiet=quiet, unit="structures") as progress:
        for batch in _batches(reader, potential):
            evaluated = potential.evaluate([source.atoms for source in batch])
            new = [_row(source, results) for source, results in zip(batch, evaluated, strict=True)]
            frames += [_frame(s, results) for s, results in zip(batch, evaluated, strict=True)]
            if not report.as_json:
                _print(new, header=not rows)
            rows += new
            progress.show(len(rows), batch[-1].label)
            if stop():
                break
    return frames, rows


def _batches(reader: Inputs, potential: "Potential") -> Iterator[list["Source"]]:
    """Collect structures that the model can evaluate, up to a number of atoms."""
    batch: list[Source] = []
    room = _BATCH_ATOMS
    for source in reader:
        numbers = source.atoms.numbers
        try:
            structures.check_elements(numbers, potential.elements, potential.name, source.label)
        except StructureError as error:
            reader.pass_over(error)
            continue
        batch.append(source)
        room -= len(source.atoms)
        if room <= 0:
            yield batch
            batch, room = [], _BATCH_ATOMS
    if batch:
        yield batch


def _row(source: "Source", results: dict[str, Any]) -> dict[str, Any]:
    stress = results.get("stress")
    return {
        "input": source.label,
        "n_atoms": len(source.atoms),
        "energy_eV": float(results["energy"]),
        "max_force_eV_per_A": float(np.linalg.norm(results["forces"], axis=1).max()),
        "pressure_GPa": None if stress is None else float(-stress[:3].mean() / units.GPa),
    }


def _frame(source: "Source", results: dict[str, Any]) -> Atoms:
    atoms: Atoms = source.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _print(rows: list[dict[str, Any]], *, header: bool) -> None:
    if header:
        click.echo(_HEADER)
    for row in rows:
        pressure = "-" if row["pressure_GPa"] is None else f"{row['pressure_GPa']:.4f}"
        click.echo(
            f"{row['energy_eV']:16.6f} {row['max_force_eV_per_A']:17.5f} {pressure:>15} "
            f"{row['n_atoms']:7d}  {row['input']}"
        )
