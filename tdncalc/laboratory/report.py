"""Measurements as records, CSV and text."""

import csv
import io
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tdncalc.laboratory.catalogue import MAPS
from tdncalc.laboratory.measure import Row, Setting

__all__ = ["NOTES", "csv_text", "machine", "records", "table"]

NOTES = """\
Compare times only within one map: other maps are other operations.
time: of the processor for one CPU thread, else by the clock; median of repeats that take turns;
  backward gives the gradients by both operands and by weights of paths.
memory: the most that both passes hold beyond the operands; on a CPU the results of all torch
  operations while they live, on a GPU what torch's allocator counts.
work: of the forward pass, by a formula for each product, matrix products counted in full.
errors: relative, root mean square; against the definition of the map, and of rotating or
  inverting the operands against doing so to the result.
couplings: (l1, l2) -> l3 that exist, of those allowed.
expr.: expressivity, the dimension of the set of maps with a weight per degree on both operands
  and the result; of a product that is not exact, that of its map."""

_COLUMNS = (
    ("forward", "ms", 9),
    ("fwd+bwd", "ms", 9),
    ("memory", "MB", 8),
    ("work", "MFLOP", 8),
    ("error", "", 8),
    ("rotation", "error", 8),
    ("reflect.", "error", 8),
    ("couplings", "", 9),
    ("expr.", "", 5),
)


def machine(device: torch.device) -> str:
    """Name the processor, torch and its threads in one line."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    plural = "" if threads == 1 else "s"
    return f"{_processor()}, {threads} thread{plural}, torch {torch.__version__}"


def records(setting: Setting, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each row with its setting, of plain types."""
    circumstances = {
        "l_max": setting.l_max,
        "channels": setting.channels,
        "edges": setting.edges,
        "operand": "many" if setting.many else "one",
        "device": str(setting.device),
        "dtype": str(setting.dtype).removeprefix("torch."),
        "repeats": setting.repeats,
    }
    return [circumstances | asdict(row) for row in rows]


def csv_text(found: Sequence[dict[str, Any]]) -> str:
    """Write records as CSV; what does not exist is empty, lists are separated by spaces."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(found[0]), lineterminator="\n")
    writer.writeheader()
    for record in found:
        writer.writerow(record | {"missing": " ".join(record["missing"])})
    return text.getvalue()


def table(setting: Setting, rows: Sequence[Row]) -> str:
    """Write one setting as text, a block for each map."""
    operand = f"{setting.channels} channels" if setting.many else "1 channel (harmonics)"
    dtype = str(setting.dtype).removeprefix("torch.")
    lines = [
        f"L = {setting.l_max}, {setting.channels} channels, {setting.edges} edges, {dtype}; "
        f"second operand: {operand}"
    ]
    for name, meaning in MAPS.items():
        block = [row for row in rows if row.map_name == name]
        if block:
            lines += ["", f"map {name}: {meaning}", *_head(), *map(_line, block)]
    return "\n".join(lines)


def _head() -> list[str]:
    names = " ".join(f"{name:>{width}}" for name, _, width in _COLUMNS)
    units = " ".join(f"{unit:>{width}}" for _, unit, width in _COLUMNS)
    return [f"  {'product':18} {'exact':5} {names}", f"  {'':24} {units}".rstrip()]


def _line(row: Row) -> str:
    start = f"  {row.product:18} {'yes' if row.exact else 'no':5}"
    if row.reason or row.flops is None:
        return f"{start} {row.reason}"
    texts = [
        *(f"{value:.3f}" for value in (row.forward_ms, row.backward_ms)),
        f"{row.memory_MB:.1f}",
        f"{row.flops / 1e6:.1f}",
        *(f"{value:.0e}" for value in (row.error, row.rotation_error, row.reflection_error)),
        f"{row.paths}/{row.paths_allowed}",
        str(row.expressivity),
    ]
    cells = zip(texts, _COLUMNS, strict=True)
    return f"{start} {' '.join(f'{text:>{column[2]}}' for text, column in cells)}"


def _processor() -> str:
    """Return the name of the processor, or at least its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
