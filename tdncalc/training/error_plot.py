"""A model's errors as a picture: parity, and how often an error is how large."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tdncalc.errors import OutputError
from tdncalc.training.frames import Floats, Frames

__all__ = ["draw_errors"]

_TICKS = 4  # intervals of an axis at most: more labels of large errors touch each other


def draw_errors(path: Path, frames: Frames, energy: Floats, forces: Floats) -> None:
    """Draw the errors (computed minus true) of energies (S,) in eV and forces (A, 3) in eV/Å.

    Energies are drawn per atom and against their mean for the composition, by least squares:
    what one structure of a molecule differs from another by, not the sum of its atoms.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    counts = frames.counts(np.unique(frames.numbers).tolist()).astype(np.float64)
    mean = counts @ np.linalg.lstsq(counts, frames.energy, rcond=1e-10)[0]
    true = (frames.energy - mean) / frames.n_atoms()
    error = energy / frames.n_atoms()
    figure = Figure(figsize=(8.4, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    (top_left, top_right), (left, right) = figure.subplots(2, 2)
    _parity(top_left, true, true + error, "energy above that of the composition (eV/atom)")
    _parity(top_right, frames.forces.ravel(), (frames.forces + forces).ravel(), "force (eV/Å)")
    _histogram(left, 1000 * error, "error of the energy (meV/atom)")
    _histogram(right, 1000 * forces.ravel(), "error of a force component (meV/Å)")
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as problem:
        raise OutputError(f"{path}: cannot be written ({problem.strerror})") from problem


def _parity(axes: Axes, true: Floats, computed: Floats, label: str) -> None:
    low, high = min(true.min(), computed.min()), max(true.max(), computed.max())
    room = 0.03 * (high - low) or 1.0
    axes.plot([low, high], [low, high], "k-", linewidth=0.6)
    extent = (low - room, high + room, low - room, high + room)
    axes.hexbin(true, computed, gridsize=90, bins="log", mincnt=1, extent=extent, cmap="viridis")
    axes.set(xlabel=f"reference {label}", ylabel="model", aspect="equal")
    axes.locator_params(axis="x", nbins=_TICKS)


def _histogram(axes: Axes, errors: Floats, label: str) -> None:
    edge = float(np.quantile(np.abs(errors), 0.995 if len(errors) > 1000 else 1.0)) or 1.0
    axes.hist(errors, bins=int(np.clip(len(errors) ** 0.5, 10, 80)), range=(-edge, edge))
    title = (
        f"mean absolute {np.abs(errors).mean():.3g}, {np.mean(np.abs(errors) > edge):.1%} beyond"
    )
    axes.set(xlabel=label, ylabel="count", yscale="log", title=title)
    axes.locator_params(axis="x", nbins=_TICKS)
    axes.grid(alpha=0.3)
