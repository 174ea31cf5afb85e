"""A finished run as a picture: energy, force, temperature, pressure and volume."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import units
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tdncalc.errors import OutputError
from tdncalc.structures.extxyz import writable
from tdncalc.workflows.traj_file import read_frames

__all__ = ["plot_md", "plot_relaxation"]


@dataclass(frozen=True)
class _Panel:
    """One quantity over the run.

    Attributes
    ----------
    label
        Its name and unit.
    curves
        Values (T,), each with its own name if there are several.
    limit
        A level to draw as a dashed line.
    log
        Whether the axis is logarithmic.
    """

    label: str
    curves: dict[str, np.ndarray]
    limit: float | None = None
    log: bool = False


def plot_relaxation(trajectory: Path, picture: Path, *, title: str, fmax: float) -> None:
    """Draw energy (enthalpy under pressure) and largest force of each step, and a moving cell.

    Parameters
    ----------
    trajectory
        Of a relaxation.
    picture
        The PNG file, which is replaced if it is there.
    title
        Of the picture.
    fmax
        The force that counted as relaxed, eV/Å; a line.

    Raises
    ------
    OutputError
        There are no frames, or the picture cannot be written.
    """
    frames, description = read_frames(trajectory)
    if not frames:
        raise OutputError(f"{trajectory}: holds no frames to plot")
    energy = np.array([frame.get_potential_energy() for frame in frames])
    force = np.array([np.linalg.norm(frame.get_forces(), axis=1).max() for frame in frames])
    volume = np.array([frame.cell.volume for frame in frames])
    pressure = description.get("pressure_GPa", 0.0) * units.GPa
    minimized = energy + pressure * volume
    name = "enthalpy" if pressure else "energy"
    panels = [
        _Panel(f"{name} − last (eV)", {"": minimized - minimized[-1]}),
        _Panel("largest force (eV/Å)", {"": force}, limit=fmax, log=True),
    ]
    if np.ptp(volume) > 0:
        panels.append(_Panel("volume (Å³)", {"": volume}))
        if all("stress" in frame.calc.results for frame in frames):
            mean = np.array([-frame.get_stress()[:3].mean() / units.GPa for frame in frames])
            panels.append(_Panel("pressure (GPa)", {"": mean}))
    _draw(picture, title, "step", np.arange(len(frames)), panels)


def plot_md(table: Path, picture: Path, *, title: str) -> None:
    """Draw energies, temperature and largest force over time, and what a barostat does.

    Parameters
    ----------
    table
        The CSV file of a run.
    picture
        The PNG file, which is replaced if it is there.
    title
        Of the picture.

    Raises
    ------
    OutputError
        The table has no rows, or the picture cannot be written.
    """
    with table.open(newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise OutputError(f"{table}: holds no rows to plot")
    start = float(rows[0]["potential_eV"])
    energies = {"potential": "potential_eV", "total": "total_eV"}
    panels = [
        _Panel(
            "energy − start (eV)",
            {name: _column(rows, column) - start for name, column in energies.items()},
        ),
        _Panel("temperature (K)", {"": _column(rows, "temperature_K")}),
        _Panel("largest force (eV/Å)", {"": _column(rows, "max_force")}),
    ]
    pressure, volume = _column(rows, "pressure_GPa"), _column(rows, "volume_A3")
    if np.isfinite(pressure).all():
        panels.append(_Panel("pressure (GPa)", {"": pressure}))
    if np.isfinite(volume).all() and np.ptp(volume) > 0:
        panels.append(_Panel("volume (Å³)", {"": volume}))
    _draw(picture, title, "time (ps)", _column(rows, "time_fs") / 1000, panels)


def _column(rows: Sequence[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name] or "nan") for row in rows])


def _draw(picture: Path, title: str, label: str, x: np.ndarray, panels: list[_Panel]) -> None:
    figure = Figure(figsize=(7, 0.7 + 1.5 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(every, panels, strict=True):
        _fill(axes, x, panel)
    every[-1].set_xlabel(label)
    if label == "step":
        every[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    figure.suptitle(writable(title), fontsize=10, parse_math=False)
    temporary = picture.with_name(f".{os.getpid()}.{picture.name}")
    try:
        figure.savefig(temporary, dpi=120, facecolor="white", format="png")
        temporary.replace(picture)
    except OSError as error:
        raise OutputError(f"{picture}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _fill(axes: Axes, x: np.ndarray, panel: _Panel) -> None:
    # A point where there is no line to see.
    marker = "o" if len(x) < 60 else ""
    for color, (name, values) in zip(("C0", "C1"), panel.curves.items(), strict=False):
        axes.plot(x, values, color=color, lw=1.2, label=name or None, marker=marker, ms=3)
    if panel.limit is not None:
        axes.axhline(panel.limit, color="0.5", ls="--", lw=1)
    if panel.log and all((values > 0).all() for values in panel.curves.values()):
        axes.set_yscale("log")
    axes.set_ylabel(panel.label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.curves) > 1:
        axes.legend(fontsize=8, frameon=False, ncols=2, loc="best")
