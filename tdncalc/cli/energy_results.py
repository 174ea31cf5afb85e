"""Where the energies of structures go: the table, a file of structures, and the rows for JSON."""

import contextlib
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
import numpy as np
from ase import Atoms, units

from tdncalc import structures
from tdncalc.cli.energy_stream import EnergyStream
from tdncalc.cli.failures import heard_or_not, warn_of_novelty
from tdncalc.cli.options import OutputOptions, ReportOptions
from tdncalc.cli.outputs import is_streamed
from tdncalc.workflows.subject import with_results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tdncalc.structures import Source

_HEADER = (
    f"{'energy (eV)':>16} {'max force (eV/Å)':>17} {'pressure (GPa)':>15} {'novelty':>8} "
    f"{'atoms':>7}  structure"
)


class EnergyResults:
    """The results of a call, each kept and printed as it comes.

    Parameters
    ----------
    output, report
        What the user wants to have and to see.
    model
        Name and sha256 of the model, and its dispersion if it has one.
    resume
        Whether to go on with the file that an earlier run left.

    Attributes
    ----------
    n_done
        How many there are.
    rows
        What to print as JSON.
    """

    def __init__(
        self, output: OutputOptions, report: ReportOptions, model: dict[str, str], *, resume: bool
    ) -> None:
        self._output, self._as_json = output, report.as_json
        self._stream: EnergyStream | None = None
        if output.output is not None and is_streamed(output.output):
            self._stream = EnergyStream(output.output, model, resume=resume)
        self._frames: list[Atoms] = []
        self._first: Atoms | None = None
        self._n_expected = 0
        self.n_done = 0
        self.rows: list[dict[str, Any]] = []

    def rest(self, sources: "Iterable[Source]") -> "Iterable[Source]":
        """Give the structures that have no result yet."""
        return sources if self._stream is None else self._stream.rest(sources)

    def expect(self, source: "Source") -> None:
        """Refuse a structure, before it is computed, that has no place in the file of -o."""
        if self._output.output is None or self._stream is not None:
            return
        self._n_expected += 1
        structures.require_writable(self._output.output, source.atoms)
        structures.require_room(self._output.output, self._n_expected)
        self._first = self._first or source.atoms
        structures.require_beside(self._output.output, self._first, source.atoms)

    def add(self, source: "Source", results: dict[str, Any]) -> None:
        """Keep the results of a structure."""
        row = _row(source, results)
        if self._as_json:
            self.rows.append(row)
        else:
            # With -o the table is not the only place of the results.
            kept = self._output.output is not None
            with heard_or_not(sys.stdout) if kept else contextlib.nullcontext():
                _print(row, header=self.n_done == 0)
        self.n_done += 1
        atoms = with_results(source.atoms.copy(), results)
        warn_of_novelty(source.label, atoms)
        if self._output.output is None:
            return
        if self._stream is None:
            self._frames.append(atoms)
        else:
            self._stream.append(source, atoms)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()
        elif self._frames and error is None:
            assert self._output.output is not None
            path, overwrite = self._output.output, self._output.overwrite
            structures.write(path, self._frames, overwrite=overwrite)


def _row(source: "Source", results: dict[str, Any]) -> dict[str, Any]:
    stress = results.get("stress")
    return {
        "input": source.label,
        "n_atoms": len(source.atoms),
        "energy_eV": float(results["energy"]),
        "max_force_eV_per_A": float(np.linalg.norm(results["forces"], axis=1).max()),
        "pressure_GPa": None if stress is None else float(-stress[:3].mean() / units.GPa),
        "novelty": results.get("novelty"),
    }


def _print(row: dict[str, Any], *, header: bool) -> None:
    if header:
        click.echo(_HEADER)
    pressure = "-" if row["pressure_GPa"] is None else f"{row['pressure_GPa']:.4f}"
    novelty = "-" if row["novelty"] is None else f"{row['novelty']:.2f}"
    click.echo(
        f"{row['energy_eV']:16.6f} {row['max_force_eV_per_A']:17.5f} {pressure:>15} "
        f"{novelty:>8} {row['n_atoms']:7d}  {row['input']}"
    )
