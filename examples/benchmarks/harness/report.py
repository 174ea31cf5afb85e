"""Tables and a plot of what was measured."""

import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["machine", "median_ms", "plot", "table"]

DAY = 86400  # seconds
_OURS = {
    "tdncalc_compiled": "#c1121f",
    "tdncalc_small": "#780000",
    "tdncalc_large": "#ff4d6d",
    "tdncalc_metals": "#a4133c",
    "tdncalc_eager": "#e07a5f",
    "tdncalc_e3nn": "#f2b8a0",
}
_COLORS = (
    *("#1d3557", "#457b9d", "#2a9d8f", "#8ab17d", "#6a4c93", "#b08968", "#7f7f7f"),
    *("#17becf", "#bcbd22", "#9467bd", "#2ca02c", "#5c4033", "#000000"),
)
_MARKERS = "osD^v<>Pp*hXd"


def machine() -> dict[str, Any]:
    """Return the processor, its cores, the memory and the system."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_GB": round(memory, 1),
        "system": platform.platform(),
    }


def median_ms(runs: Iterable[dict[str, Any]], key: str) -> float | None:
    """Return the median of all steps of some runs in ms."""
    times = [seconds for run in runs for seconds in run.get(key, [])]
    return 1000 * statistics.median(times) if times else None


def _mean_ms(runs: list[dict[str, Any]], key: str) -> float:
    times = [seconds for run in runs for seconds in run[key]]
    return 1000 * statistics.fmean(times)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _good(
    results: list[dict[str, Any]], system: str, contender: str, threads: int
) -> list[dict[str, Any]]:
    wanted = {"system": system, "contender": contender, "threads": threads}
    return [
        run for run in results if "cpu_s" in run and all(run[k] == v for k, v in wanted.items())
    ]


def table(report: dict[str, Any]) -> str:
    """Return one markdown table per system, the fastest contender first."""
    head = report["machine"]
    parts = [
        f"{head['processor']}, {head['cores']} cores, {head['memory_GB']} GB. Processor time of a"
        " step of dynamics (energy, forces, neighbor list) at one thread, median and mean of all"
        " steps; wall time at two threads, where it was measured; ns/day from the mean at 1 fs a"
        " step; first force of a fresh process with its imports, processor time; peak resident"
        " memory.\n"
    ]
    for name, atoms in report["systems"].items():
        parts.append(_system_table(report, name, atoms))
    parts.append(_contender_table(report))
    return "\n".join(parts)


def _system_table(report: dict[str, Any], system: str, atoms: int) -> str:
    ours = median_ms(_good(report["results"], system, "tdncalc_compiled", 1), "cpu_s")
    rows, without = [], []
    wall = {
        name: median_ms(_good(report["results"], system, name, 2), "wall_s")
        for name in report["contenders"]
    }
    two_threads = any(wall.values())
    columns = ["ms/step", "mean", "ratio", *(["ms wall, 2 threads"] if two_threads else [])]
    columns += ["ns/day", "µs/atom", "first, s", "peak, MB", "steps"]
    lines = [
        f"\n### {system}, {atoms} atoms\n",
        f"| contender | {' | '.join(columns)} |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, about in report["contenders"].items():
        runs = _good(report["results"], system, name, 1)
        two = [wall[name]] if two_threads else []
        if runs:
            rows.append(_row(about["label"], runs, two, ours, atoms))
        elif reason := _reason(report["results"], system, name):
            without.append(f"{about['label']}: {reason}")
    lines += [line for _, line in sorted(rows)]
    return "\n".join([*lines, *(["", "Without: " + "; ".join(without)] if without else [])])


def _row(
    label: str, runs: list[dict[str, Any]], two: list[float | None], ours: float | None, atoms: int
) -> tuple[float, str]:
    median, mean = median_ms(runs, "cpu_s"), _mean_ms(runs, "cpu_s")
    assert median is not None
    cells = [
        median,
        mean,
        median / ours if ours else None,
        *two,
        DAY / mean * 1e-3,
        1000 * median / atoms,
        statistics.median(run["first_cpu_s"] for run in runs),
        max(run["peak_MB"] for run in runs),
        sum(len(run["cpu_s"]) for run in runs),
    ]
    return median, f"| {label} | " + " | ".join(map(_number, cells)) + " |"


def _reason(results: list[dict[str, Any]], system: str, contender: str) -> str | None:
    for run in results:
        if (run["system"], run["contender"]) == (system, contender) and "without" in run:
            return run["without"]
    return None


def _contender_table(report: dict[str, Any]) -> str:
    lines = ["\n### Contenders\n", "| contender | network | versions |", "| --- | --- | --- |"]
    for about in report["contenders"].values():
        versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
        lines.append(f"| {about['label']} | {about['model']} | {versions or 'not measured'} |")
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the time of a step against the number of atoms, ours in red, silicon off the lines."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for index, (name, about) in enumerate(report["contenders"].items()):
        points = {
            system: (atoms, value)
            for system, atoms in report["systems"].items()
            if (value := median_ms(_good(report["results"], system, name, 1), "cpu_s"))
        }
        if points:
            _line(axes, points, name, about["label"], index)
    axes.set(xscale="log", yscale="log", xlabel="atoms")
    axes.set_ylabel("processor time of a step at one thread (ms)")
    lines = [name for name in report["systems"] if name != "silicon"]
    axes.set_title(", ".join(lines) + "; open: silicon", fontsize=9)
    axes.grid(which="major", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def _line(
    axes: Axes, points: dict[str, tuple[int, float]], name: str, label: str, index: int
) -> None:
    style = {
        "color": _OURS.get(name) or _COLORS[index % len(_COLORS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 5,
        "zorder": 3 if name in _OURS else 2,
    }
    line = {"linewidth": 2.8 if name in _OURS else 1.1, "linestyle": "-" if name in _OURS else "--"}
    organic = [point for system, point in points.items() if system != "silicon"]
    axes.plot([x for x, _ in organic], [y for _, y in organic], **style, **line, label=label)
    if "silicon" in points:
        axes.plot(*points["silicon"], **style, fillstyle="none", linestyle="")
