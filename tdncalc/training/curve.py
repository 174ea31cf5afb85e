"""The log of a run as CSV, and its learning curve as a picture."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

__all__ = ["write_curve"]

_NARROW = 4.0  # highest over lowest
_PANELS = (
    ("energy_meV_per_atom", "energy MAE (meV/atom)"),
    ("forces_meV_per_A", "force MAE (meV/Å)"),
)


def write_curve(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write ``log.csv`` and ``learning_curve.png`` from the rows of a run's log."""
    temporary = folder / "log.csv.tmp"
    with temporary.open("w", newline="") as file:
        columns = dict.fromkeys(column for row in rows for column in row)
        writer = csv.DictWriter(file, fieldnames=list(columns))
        writer.writeheader()
        writer.writerows({key: _written(value) for key, value in row.items()} for row in rows)
    os.replace(temporary, folder / "log.csv")
    _draw(rows).savefig(folder / "learning_curve.png", dpi=120)


def _written(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _draw(rows: Sequence[dict[str, float]]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (column, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        steps = [row["step"] for row in rows]
        drawn = {part: [row[f"{part}_{column}"] for row in rows] for part in ("train", "valid")}
        for (part, errors), style in zip(drawn.items(), ("C7-", "C0.-"), strict=True):
            axes.plot(steps, errors, style, label=part)
        axes.set(xlabel="step", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if any(error > 0 for errors in drawn.values() for error in errors):  # not so at rest
            axes.set_yscale("log")
            _label_plainly(axes)
        axes.grid(which="both", alpha=0.3)
        axes.legend()
    return figure


def _label_plainly(axes: Axes) -> None:
    """Write the ticks of a logarithmic axis as numbers; of a wide one only 1, 2, 3 and 5."""
    low, high = axes.get_ylim()
    narrow = high < _NARROW * low

    def tick(value: float, _: int | None) -> str:
        text = f"{value:g}"
        return text if narrow or text.strip("0.")[:1] in "1235" else ""

    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(FuncFormatter(tick))
