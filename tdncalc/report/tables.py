"""The tables and summaries of runs, whatever columns they have."""

import csv
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdncalc.errors import StructureError
from tdncalc.report.run import Floats
from tdncalc.wording import counted

_REGULAR = ("step", "time_fs")  # of each frame, also of one whose row is damaged
_MOST_NAMED = 5  # lines


def read_columns(path: Path) -> tuple[dict[str, Floats], list[str]]:
    """Read the numeric columns of a table, and warnings; what is empty is NaN.

    A last line that a kill cut short is left out. So is one that does not parse, with a warning; by
    the steps before and behind it is told whether it stood for a row. If so there is one of NaN,
    but for its step and time, so that the others stay at the frames of their steps.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except OSError as error:
        raise StructureError(f"{path}: no readable table ({error})") from error
    names = _cells(lines[0]) if lines else []
    if "\ufffd" in "".join(names) or not all(map(str.isprintable, names)):
        raise StructureError(f"{path}: no readable table (its first line names no columns)")
    numbered = [(k, _cells(line)) for k, line in enumerate(lines[1:], start=2) if line.strip()]
    parsed = _parsed([cells for _, cells in numbered], len(names))
    damaged = [k for (k, _), row in zip(numbered, parsed, strict=True) if row is None]
    rows = _with_gaps(parsed, names.index("step") if "step" in names else None)
    columns = {name: np.array([row[place] for row in rows]) for place, name in enumerate(names)}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    columns |= {name: _filled(columns[name]) for name in _REGULAR if damaged and name in columns}
    return columns, [_skipped(path, damaged)] if damaged else []


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _parsed(lines: list[list[str]], width: int) -> list[list[float] | None]:
    """Give the numbers of each row; None where a cell is missing, or none in a numeric column."""
    whole = [cells for cells in lines if len(cells) == width]
    numeric = [_mostly_numbers([cells[place] for cells in whole]) for place in range(width)]
    rows: list[list[float] | None] = []
    for cells in lines:
        values = [_number(cell) for cell in cells]
        fits = len(cells) == width and not any(
            wanted and value is None for wanted, value in zip(numeric, values, strict=True)
        )
        rows.append([math.nan if v is None else v for v in values] if fits else None)
    return rows


def _mostly_numbers(cells: list[str]) -> bool:
    values = [_number(cell) for cell in cells]
    return 2 * values.count(None) <= len(values)


def _with_gaps(rows: list[list[float] | None], step: int | None) -> list[list[float]]:
    """Put a row of NaN for each None that the steps around leave room for; none at the end."""
    width = max((len(row) for row in rows if row is not None), default=0)
    interval = (
        None if step is None else _interval([None if row is None else row[step] for row in rows])
    )
    result: list[list[float]] = []
    before, lost = -(interval or 0.0), 0
    for row in rows:
        if row is None:
            lost += 1
            continue
        if step is not None and interval:
            room = math.ceil((row[step] - before) / interval) - 1
            lost, before = max(0, min(lost, room)), row[step]
        result += [[math.nan] * width] * lost + [row]
        lost = 0
    return result


def _interval(steps: Sequence[float | None]) -> float | None:
    """Return the usual distance of steps in rows behind each other."""
    pairs = itertools.pairwise(steps)
    apart = [b - a for a, b in pairs if a is not None and b is not None and b > a]
    return float(np.median(apart)) if apart else None


def _filled(values: Floats) -> Floats:
    """Put the regular values where there is none."""
    values = values.copy()
    known = np.flatnonzero(np.isfinite(values))
    interval = _interval([None if math.isnan(v) else v for v in values]) or 0.0
    first = known[0]
    values[:first] = values[first] - interval * np.arange(first, 0, -1)
    for place in np.flatnonzero(np.isnan(values)):
        values[place] = values[place - 1] + interval
    return values


def _skipped(path: Path, lines: list[int]) -> str:
    """Say which lines of a table do not count."""
    numbers = ", ".join(map(str, lines[:_MOST_NAMED])) + (", ..." if lines[_MOST_NAMED:] else "")
    rows = f"{counted(len(lines), 'row')} cannot be read and {'is' if len(lines) == 1 else 'are'}"
    return f"{path}: {rows} skipped (line{'s' if lines[1:] else ''} {numbers})"


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read a table of one JSON object a line; a last line that a kill cut short is left out.

    Raises
    ------
    StructureError
        A whole line is no JSON object.
    """
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StructureError(f"{path}: line {number} is no JSON ({error})") from error
        if not isinstance(record, dict):
            raise StructureError(f"{path}: line {number} is no JSON object")
        records.append(record)
    return records


def read_summary(path: Path) -> dict[str, Any]:
    """Read the JSON object that a command left.

    Raises
    ------
    StructureError
        It is none.
    """
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StructureError(f"{path}: no readable summary ({error})") from error
    if not isinstance(summary, dict):
        raise StructureError(f"{path}: no summary of a run (a JSON object is expected)")
    return summary


def _number(text: str) -> float | None:
    """Return the number that a cell holds, NaN if it is empty, None of other text."""
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        return None
