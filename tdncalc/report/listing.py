"""Many structures as a table: a column each quantity, a row each structure."""

import math
from collections import Counter
from typing import Any

import numpy as np

from tdncalc.report.packing import numbers
from tdncalc.report.run import Run

# Title, unit and digits behind the point of what a record says.
_KNOWN = {
    "n_atoms": ("Atoms", "", 0),
    "energy_eV": ("Energy", "eV", 4),
    "relative_eV": ("Above lowest", "eV", 4),
    "fmax_eV_per_A": ("Max force", "eV/Å", 4),
    "steps": ("Steps", "", 0),
    "seconds": ("Time", "s", 2),
    "novelty": ("Novelty", "", 2),
}
_NO_NUMBERS = {"relaxed_bytes", "converged"}


def listing(run: Run) -> dict[str, Any]:
    """Describe the table of many structures; the energies above the lowest are per formula."""
    formulas = [atoms.get_chemical_formula() for atoms in run.frames]
    records = [dict(record) for record in run.records]
    if formulas:
        _add_relative(records, formulas)
    names = _names(records)
    columns = [{"key": "name", "title": "Structure", "values": names, "kind": "text"}]
    columns += [_column(key, records) for key in _numeric(records)]
    if any("converged" in record for record in records):
        flags = [_outcome(record) for record in records]
        columns.append({"key": "converged", "title": "Outcome", "values": flags, "kind": "flag"})
    return {"columns": columns, "formulas": formulas or None}


def _names(records: list[dict[str, Any]]) -> list[str]:
    """Name structures, without their folder if it is the same for all."""
    names = [str(record.get("input", number)) for number, record in enumerate(records)]
    folders = {name.rpartition("/")[0] for name in names}
    return [name.rpartition("/")[2] for name in names] if len(folders) == 1 else names


def _add_relative(records: list[dict[str, Any]], formulas: list[str]) -> None:
    """Add the energy above the lowest of the same formula, where there are several."""
    lowest: dict[str, float] = {}
    for formula, record in zip(formulas, records, strict=True):
        energy = record.get("energy_eV")
        if energy is not None:
            lowest[formula] = min(energy, lowest.get(formula, energy))
    several = {formula for formula, n in Counter(formulas).items() if n > 1}
    for formula, record in zip(formulas, records, strict=True):
        if formula in several and record.get("energy_eV") is not None:
            record["relative_eV"] = record["energy_eV"] - lowest[formula]


def _numeric(records: list[dict[str, Any]]) -> list[str]:
    """Name every quantity that some record has as a number, the known ones first."""
    found = {
        key
        for record in records
        for key, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    found -= _NO_NUMBERS
    return [key for key in _KNOWN if key in found] + sorted(found - _KNOWN.keys())


def _column(key: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    title, unit, digits = _KNOWN.get(key, (key.replace("_", " ").capitalize(), "", 3))
    found = [math.nan if record.get(key) is None else float(record[key]) for record in records]
    return {
        "key": key,
        "title": title,
        "unit": unit,
        "digits": digits,
        "values": numbers(np.array(found), 11),
        "kind": "number",
    }


def _outcome(record: dict[str, Any]) -> str:
    if record.get("converged"):
        return "converged"
    return str(record.get("reason") or "not converged")
