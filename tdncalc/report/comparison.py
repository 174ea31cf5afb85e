"""Runs side by side: what the first is to the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from tdncalc.report import facts
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
    return {"rows": rows, "overlay": _overlay(runs, packer), "pairs": _pairs(runs, packer)}


def _row(run: Run, first: Run) -> dict[str, Any]:
    if run.kind == "many":
        return _row_of_many(run)
    final, reference = run.final, first.final
    placed = None if final is None or reference is None else laid_over(final, reference)
    row: dict[str, Any] = {
        "kind": facts.title(run) + (", mean potential energy" if run.kind == "md" else ""),
        "energy_eV": _energy(run),
        "max_force": _last(run, "max_force"),
        "temperature_K": _finite(facts.mean_temperature(run)),
        "frames": len(next(iter(run.columns.values()), ())),
    }
    if run is not first and placed is not None and reference is not None:
        row["difference_eV"] = _difference(_energy(first), row["energy_eV"])
        row["rmsd_A"] = rmsd(placed, reference.positions)
    return row


def _row_of_many(run: Run) -> dict[str, Any]:
    steps = [record["steps"] for record in run.records if "steps" in record]
    return {
        "kind": facts.title(run),
        "structures": len(run.records),
        "converged": sum(bool(record.get("converged")) for record in run.records),
        "steps": float(np.median(steps)) if steps else None,
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


def _pairs(runs: Sequence[Run], packer: Packer) -> dict[str, list[Any]] | None:
    """Match the structures of two runs of many by name."""
    if len(runs) != 2 or {run.kind for run in runs} != {"many"}:
        return None
    places = [{str(r.get("input")): i for i, r in enumerate(run.records)} for run in runs]
    pairs: dict[str, list[Any]] = {key: [] for key in ("name", "difference_eV", "rmsd_A", "shown")}
    for name in places[0]:
        if name not in places[1]:
            continue
        a, b = (place[name] for place in places)
        energies = [run.records[i].get("energy_eV") for run, i in zip(runs, (a, b), strict=True)]
        frames = [run.frames[i] for run, i in zip(runs, (a, b), strict=True) if run.frames]
        placed = laid_over(frames[1], frames[0]) if len(frames) == 2 else None
        pairs["name"].append(name)
        pairs["difference_eV"].append(_difference(*energies))
        pairs["rmsd_A"].append(None if placed is None else rmsd(placed, frames[0].positions))
        pairs["shown"].append(None if placed is None else _shown(frames[0], placed, packer))
    return pairs


def _shown(reference: Atoms, placed: Floats, packer: Packer) -> dict[str, Any]:
    both = [packer.add(x[None], POSITION_STEP) for x in (reference.positions, placed)]
    return {"numbers": reference.numbers.tolist(), "positions": both}


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _energy(run: Run) -> float | None:
    return _mean(run, "potential_eV") if run.kind == "md" else _last(run, "potential_eV")


def _mean(run: Run, name: str) -> float | None:
    return None if name not in run.columns else _finite(float(np.nanmean(run.columns[name])))


def _last(run: Run, name: str) -> float | None:
    values: Floats | None = run.columns.get(name)
    return None if values is None or len(values) == 0 else _finite(values[-1])


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
