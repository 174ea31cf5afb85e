"""The log of a run as CSV, and its learning curve as a picture."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["write_curve"]

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
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
    os.replace(temporary, folder / "log.csv")
    _draw(rows).savefig(folder / "learning_curve.png", dpi=120)


def _draw(rows: Sequence[dict[str, float]]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (column, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        steps = [row["step"] for row in rows]
        for part, style in (("train", "C7-"), ("valid", "C0.-")):
            axes.plot(steps, [row[f"{part}_{column}"] for row in rows], style, label=part)
        axes.set(xlabel="step", ylabel=label, yscale="log")
        axes.grid(which="both", alpha=0.3)
        axes.legend()
    return figure
