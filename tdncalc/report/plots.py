"""The plots of a run: what is drawn against what, and in which unit."""

from typing import Any

import numpy as np

from tdncalc.report import analysis
from tdncalc.report.displacement import Displacement, free_paths, in_cm2_per_s
from tdncalc.report.measures import is_constant
from tdncalc.report.packing import numbers
from tdncalc.report.run import Floats, Run

_MOST_ANALYZED = 200  # frames; more make g(r) no smoother to the eye
_REACH = 8.0  # Å
_BONDS_OF_HYDROGEN = 1.5  # Å, the longest
_ABSCISSAE = {"time_fs": ("Time", "fs"), "step": ("Step", ""), "frame": ("Frame", "")}
_TITLES = {
    "temperature_K": "Temperature",
    "potential_eV": "Potential energy",
    "kinetic_eV": "Kinetic energy",
    "total_eV": "Total energy",
    "conserved_eV": "Conserved energy",
    "pressure_GPa": "Pressure",
    "volume_A3": "Volume",
    "density_g_per_cm3": "Density",
    "max_force": "Largest force",
    "novelty": "Novelty",
}
_FORCES = ("max_force", "fmax")
_UNITS = {
    "_eV": "eV",
    "_K": "K",
    "_GPa": "GPa",
    "_A3": "Å³",
    "_g_per_cm3": "g/cm³",
    "_fs": "fs",
    "_A": "Å",
    "_meV": "meV",
}
# A relaxation's own order; what is not named comes behind.
_ORDER = (
    "potential_eV",
    "max_force",
    "temperature_K",
    "total_eV",
    "conserved_eV",
    "pressure_GPa",
    "volume_A3",
    "density_g_per_cm3",
    "novelty",
)


def series(run: Run) -> dict[str, Any] | None:
    """Describe the quantities against time or step; None if there are none."""
    if not len(next(iter(run.columns.values()), ())):
        return None
    x = next((name for name in ("time_fs", "step", "frame") if name in run.columns), None)
    names = sorted(run.columns.keys() - _hidden(run), key=_place)
    n = len(next(iter(run.columns.values())))
    abscissa = np.arange(n, dtype=float) if x is None else run.columns[x]
    title, unit = _ABSCISSAE[x or "frame"]
    if unit == "fs" and abscissa[-1] > 5000:
        abscissa, unit = abscissa / 1000, "ps"
    return {
        "x": {"title": title, "unit": unit, "values": numbers(abscissa)},
        "rows": run.rows,
        "lines": [_line(name, run.columns[name], log=run.kind == "relax") for name in names],
    }


def _hidden(run: Run) -> set[str]:
    """Name the columns that tell nothing more: the temperature's energy, a volume that is fixed."""
    hidden = {"step", "time_fs", "frame"}
    if "temperature_K" in run.columns:
        hidden.add("kinetic_eV")
    if "volume_A3" in run.columns and is_constant(run.columns["volume_A3"]):
        hidden.add("volume_A3")
    return hidden


def _line(name: str, values: Floats, *, log: bool) -> dict[str, Any]:
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    if name in _FORCES:
        unit = "eV/Å"
    bare = name.removesuffix(next((e for e in _UNITS if name.endswith(e)), ""))
    title = _TITLES.get(name, bare.replace("_", " ").capitalize())
    return {
        "key": name,
        "title": title,
        "unit": unit,
        "log": log and name in _FORCES and bool((values[np.isfinite(values)] > 0).all()),
        "values": numbers(values, 11),
        "note": f"Mean {np.nanmean(values):.4g} {unit}." if name == "density_g_per_cm3" else None,
    }


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def structural(run: Run, moved: Displacement | None) -> list[dict[str, Any]]:
    """Describe what the structures tell: pair distances, displacement, distance from the start."""
    frames = run.frames
    if run.kind == "many" or len(frames) < 1 or len(frames[0]) < 2:
        return []
    # The distances of a single molecule are no distribution.
    plots = [_pairs(run)] if run.kind != "relax" or frames[0].pbc.all() else []
    if len(frames) > 2:
        if moved is not None:
            plots.append(_displacement(moved))
        plots.append(_from_start(run))
    return [plot for plot in plots if plot is not None]


def _pairs(run: Run) -> dict[str, Any] | None:
    # A relaxation's structure is its last.
    chosen = run.frames[-1:] if run.kind == "relax" else _spread(run.frames)
    periodic = bool(chosen[0].pbc.all())
    found = analysis.pair_distances(chosen, _REACH)
    if not found:
        return None
    n = len(chosen)
    note = f"Mean of {n} frames." if n > 1 else "Of the last structure."
    top = _top(found) if periodic else None
    if top is not None:
        highest = max(pair.values.max() for pair in found)
        note += f" Bonds of hydrogen reach {highest:.3g}; with one line alone all of it is shown."
    return {
        "key": "rdf",
        "title": "Radial distribution g(r)" if periodic else "Distances between atoms",
        "note": note,
        "x": {"title": "r", "unit": "Å", "values": numbers(found[0].r, 5)},
        "y": {
            "title": "g(r)" if periodic else "neighbors per atom",
            "unit": "" if periodic else "1/Å",
            "top": top,
        },
        "lines": [{"title": pair.pair, "values": numbers(pair.values, 4)} for pair in found],
    }


def _top(found: list[analysis.PairDistances]) -> float | None:
    """Return the highest g(r) that is no bond of hydrogen; None where these dwarf nothing."""
    others = [
        pair.values[pair.r > _BONDS_OF_HYDROGEN] if "H" in pair.pair.split("–") else pair.values
        for pair in found
    ]
    top = max(float(values.max()) for values in others)
    return top if 0 < 3 * top < max(pair.values.max() for pair in found) else None


def _displacement(moved: Displacement) -> dict[str, Any]:
    lines = moved.squares.items()
    return {
        "key": "msd",
        "title": "Mean squared displacement",
        "note": "About the center of mass, averaged over time origins." + _self_diffusion(moved),
        "x": {"title": "Time", "unit": "ps", "values": numbers(moved.lags)},
        "y": {"title": "MSD", "unit": "Å²"},
        "lines": [{"title": symbol, "values": numbers(values, 5)} for symbol, values in lines],
    }


def _self_diffusion(moved: Displacement) -> str:
    """Say what the slopes tell, from where to where they were taken, and what is wrong with it."""
    if not moved.diffusion:
        return ""
    found = ", ".join(
        f"{one.symbol} {in_cm2_per_s(one.coefficient)} ± {in_cm2_per_s(one.error, 1)}"
        for one in moved.diffusion
    )
    start, end = moved.fit
    return (
        f" Self-diffusion coefficient, a sixth of the slope from {start:.3g} to {end:.3g} ps, with "
        f"the standard error over the molecules, or atoms that stay in none: {found} × 10⁻⁵ cm²/s. "
        "In a cell of finite size it is too small (Yeh and Hummer, J. Phys. Chem. B 108, 15873 "
        "(2004))."
        + (" The friction of Langevin dynamics lowers it too." if moved.has_friction else "")
    )


def _from_start(run: Run) -> dict[str, Any]:
    """Describe the RMSD to the first frame: of a molecule after the best superposition."""
    atoms = run.frames[0]
    positions = free_paths(run)
    if not atoms.pbc.any():
        positions = np.array([analysis.superposed(p, positions[0]) for p in positions])
    distances = np.array([analysis.rmsd(p, positions[0]) for p in positions])
    x = series(run) or {"x": {"title": "Frame", "unit": "", "values": list(range(len(positions)))}}
    values = x["x"]["values"]
    rows = run.rows or list(range(len(positions)))
    return {
        "key": "rmsd",
        "title": "RMSD to the first frame",
        "note": "All atoms" + ("" if atoms.pbc.any() else ", after superposition") + ".",
        "x": {**x["x"], "values": [values[row] for row in rows]},
        "y": {"title": "RMSD", "unit": "Å"},
        "lines": [{"title": "RMSD", "values": numbers(distances, 5)}],
        "frames": True,
    }


def _spread(frames: list[Any]) -> list[Any]:
    return frames[:: -(-len(frames) // _MOST_ANALYZED)]
