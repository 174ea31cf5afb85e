"""Measurements as a picture: a panel for each map, a line for each product."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["draw"]

_TITLES = {
    "paths": "own weight for each path",
    "gaunt": "Gaunt weights, shared",
    "equal": "equal weights, shared",
    "matrix": "matrix product XY",
    "matrix-even": "(XY + YX)/2",
}
_MARKERS = "osD^vP*X<>"


def draw(path: Path, found: Sequence[dict[str, Any]], where: str) -> None:
    """Write times per edge, forward and backward, over L (over C if there is one L) as PNG.

    Parameters
    ----------
    path
        The file.
    found
        Records of measurements; of several numbers of channels the first is drawn over L.
    where
        The machine, for the caption.
    """
    over = "l_max" if len({record["l_max"] for record in found}) > 1 else "channels"
    first = found[0]
    if over == "l_max":
        found = [record for record in found if record["channels"] == first["channels"]]
    maps = [name for name in _TITLES if any(r["map_name"] == name for r in found)]
    alone = [len({r["product"] for r in found if r["map_name"] == name}) == 1 for name in maps]
    widths = [0.55 if single else 1.0 for single in alone]
    figure = Figure(figsize=(max(5.0, 3.0 * sum(widths)), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(maps), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, name in zip(panels, maps, strict=True):
        _panel(axes, [record for record in found if record["map_name"] == name], over)
        axes.set_title(_TITLES[name], fontsize=10)
    panels[0].set_ylabel("µs per edge, forward + backward")
    figure.suptitle(_caption(first, over, where), fontsize=10)
    figure.savefig(path, dpi=100, facecolor="white", format="png")


def _panel(axes: Axes, found: Sequence[dict[str, Any]], over: str) -> None:
    names = list(dict.fromkeys(record["product"] for record in found))
    for number, name in enumerate(names):
        records = [record for record in found if record["product"] == name]
        points = [(r[over], _microseconds(r)) for r in records]
        style = "-" if records[0]["exact"] else ":"
        label = name if records[0]["exact"] else f"{name} (not exact)"
        if absent := [str(r[over]) for r in records if r["reason"]]:
            label += f" (none at {', '.join(absent)})"
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot(*zip(*points, strict=True), style, marker=marker, ms=5, label=label)
    axes.set(yscale="log", xlabel="largest degree L" if over == "l_max" else "channels C")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)


def _microseconds(record: dict[str, Any]) -> float:
    if record["backward_ms"] is None:  # a gap in the line
        return math.nan
    return 1000 * float(record["backward_ms"]) / int(record["edges"])


def _caption(record: dict[str, Any], over: str, where: str) -> str:
    fixed = f"C = {record['channels']}" if over == "l_max" else f"L = {record['l_max']}"
    return (
        f"Tensor products: compare only within a panel, each is another map\n{fixed}, "
        f"{record['edges']} edges, {record['operand']}-channel second operand, "
        f"{record['dtype']}, median of {record['repeats']}; {where}"
    )
