"""Runs side by side: what the first is to the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdncalc.report.analysis import laid_over, rmsd
from tdncalc.report.packing import POSITION_STEP, Packer
from tdncalc.report.run import Floats, Run


def compare(runs: Sequence[Run], packer: Packer) -> dict[str, Any] | None:
    """Compare runs with the first: energies, and how far the final structures are apart.

    Returns
    -------
    dict or None
        Rows for a table; for the final structures that can be laid over the first one's, their
        positions; of runs of many structures, those with the same name. None for a single run.
    """
    if len(runs) < 2:
        return None
    rows = [_row(run, runs[0]) for run in runs]
    return {"rows": rows, "overlay": _overlay(runs, packer), "pairs": _pairs(runs)}


def _row(run: Run, first: Run) -> dict[str, Any]:
    final, reference = run.final, first.final
    placed = None if final is None or reference is None else laid_over(final, reference)
    energy = _energy(run)
    return {
        "energy_eV": energy,
        "difference_eV": None if placed is None else _difference(_energy(first), energy),
        "energy_kind": "mean potential" if run.kind == "md" else "final",
        "rmsd_A": rmsd(placed, reference.positions) if placed is not None and reference else None,
        "max_force": _last(run, "max_force"),
        "temperature_K": _mean(run, "temperature_K"),
        "length": len(next(iter(run.columns.values()), ())) or len(run.records),
    }


def _overlay(runs: Sequence[Run], packer: Packer) -> list[dict[str, Any]]:
    """Give the final structures that can be laid over that of the first run, with it."""
    reference = runs[0].final
    if reference is None:
        return []
    placed = []
    for number, run in enumerate(runs):
        positions = None if run.final is None else laid_over(run.final, reference)
        if positions is not None:
            placed.append({"run": number, "positions": packer.add(positions[None], POSITION_STEP)})
    return placed if len(placed) > 1 else []


def _pairs(runs: Sequence[Run]) -> dict[str, list[Any]] | None:
    """Match the structures of two runs of many by name."""
    if len(runs) != 2 or {run.kind for run in runs} != {"many"}:
        return None
    places = [{str(r.get("input")): i for i, r in enumerate(run.records)} for run in runs]
    common = [name for name in places[0] if name in places[1]]
    pairs: dict[str, list[Any]] = {"name": common, "difference_eV": [], "rmsd_A": []}
    for name in common:
        a, b = (place[name] for place in places)
        energies = [run.records[i].get("energy_eV") for run, i in zip(runs, (a, b), strict=True)]
        pairs["difference_eV"].append(_difference(*energies))
        pairs["rmsd_A"].append(_apart(runs, a, b))
    pairs["places"] = [[places[0][name], places[1][name]] for name in common]
    return pairs


def _apart(runs: Sequence[Run], a: int, b: int) -> float | None:
    if not (runs[0].frames and runs[1].frames):
        return None
    reference, other = runs[0].frames[a], runs[1].frames[b]
    placed = laid_over(other, reference)
    return None if placed is None else rmsd(placed, reference.positions)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _energy(run: Run) -> float | None:
    if run.kind == "many":
        return None
    return _mean(run, "potential_eV") if run.kind == "md" else _last(run, "potential_eV")


def _mean(run: Run, name: str) -> float | None:
    return None if name not in run.columns else _finite(float(np.nanmean(run.columns[name])))


def _last(run: Run, name: str) -> float | None:
    values: Floats | None = run.columns.get(name)
    return None if values is None or len(values) == 0 else _finite(values[-1])


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
