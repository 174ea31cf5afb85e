"""The tables and summaries of runs, whatever columns they have."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tdncalc.errors import StructureError
from tdncalc.report.run import Floats


def read_columns(path: Path) -> dict[str, Floats]:
    """Read the numeric columns of a table; what is empty or no number is NaN.

    A last line that a kill cut short is left out.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise StructureError(f"{path}: no readable table ({error})") from error
    header, *rows = list(csv.reader(lines)) or [[]]
    rows = [row for row in rows if len(row) == len(header)]
    columns = {
        name: np.array([_number(row[place]) for row in rows]) for place, name in enumerate(header)
    }
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


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


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
