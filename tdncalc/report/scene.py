"""The structures of a run as arrays for the viewer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

from tdncalc.report.packing import FORCE_STEP, POSITION_STEP, Packer
from tdncalc.report.run import Floats, Run

_NOVELTY_STEP = 1e-3
_HIGHEST = 1e6  # steps: what is above has the last color as well


def trajectory(frames: Sequence[Atoms], packer: Packer) -> dict[str, Any] | None:
    """Describe frames of the same atoms: positions and cells, and forces and novelty if known."""
    if not frames:
        return None
    first = frames[0]
    scene: dict[str, Any] = {
        "numbers": first.numbers.tolist(),
        "pbc": first.pbc.tolist(),
        "frames": len(frames),
        "positions": packer.add(np.array([a.positions for a in frames]), POSITION_STEP),
        "colorings": _colorings(frames, packer),
    }
    if first.cell.rank == 3:
        cells = np.array([a.cell.array for a in frames])
        constant = len(frames) > 1 and np.ptp(cells, axis=0).max() == 0.0
        scene["cells"] = packer.add(cells[:1] if constant else cells, POSITION_STEP)
    return scene


def _colorings(frames: Sequence[Atoms], packer: Packer) -> list[dict[str, Any]]:
    """Describe what atoms can be colored by other than their elements."""
    found = []
    for title, unit, step, values in (
        ("Force", "eV/Å", FORCE_STEP, _forces(frames)),
        ("Novelty", "", _NOVELTY_STEP, _novelties(frames)),
    ):
        if values is not None:
            values = np.clip(np.nan_to_num(values, nan=0.0), 0.0, _HIGHEST * step)
            top = float(np.percentile(values, 99))
            array = packer.add(values, step)
            found.append({"title": title, "unit": unit, "top": top or step, "values": array})
    return found


def _forces(frames: Sequence[Atoms]) -> Floats | None:
    """Return the sizes of the forces (F, N), if every frame has them."""
    if not all(atoms.calc is not None and "forces" in atoms.calc.results for atoms in frames):
        return None
    return np.asarray(np.linalg.norm([atoms.get_forces() for atoms in frames], axis=-1))


def _novelties(frames: Sequence[Atoms]) -> Floats | None:
    """Return how far each atom is from what the model was trained on (F, N), if it was recorded."""
    if not all("novelties" in atoms.arrays for atoms in frames):
        return None
    return np.array([atoms.arrays["novelties"] for atoms in frames], dtype=float)


def collection(frames: Sequence[Atoms], packer: Packer) -> dict[str, Any] | None:
    """Describe different structures, their atoms one behind the other."""
    if not frames:
        return None
    cells = [a.cell.array if a.cell.rank == 3 else np.zeros((3, 3)) for a in frames]
    return {
        "sizes": [len(atoms) for atoms in frames],
        "numbers": np.concatenate([a.numbers for a in frames]).tolist(),
        "pbc": [a.pbc.tolist() for a in frames],
        "positions": packer.add(np.concatenate([a.positions for a in frames]), POSITION_STEP),
        "cells": packer.add(np.array(cells), POSITION_STEP),
    }


def elements(runs: Sequence[Run]) -> dict[int, dict[str, Any]]:
    """Give symbol, color and covalent radius (Å) of every element that is shown."""
    present = {int(z) for run in runs for atoms in run.frames for z in set(atoms.numbers)}
    return {z: _element(z) for z in sorted(present)}


def _element(z: int) -> dict[str, Any]:
    red, green, blue = (round(255 * c) for c in jmol_colors[z])
    return {
        "symbol": chemical_symbols[z],
        "color": _COLORS.get(z, f"#{red:02x}{green:02x}{blue:02x}"),
        "radius": round(float(covalent_radii[z]), 3),
    }


# Jmol's hydrogen is too white for paper, and its carbon and nitrogen lack contrast in the dark.
_COLORS = {
    1: "#e4e6ea",
    6: "#6f7885",
    7: "#3d6fd6",
    8: "#dd3b32",
    9: "#79b84a",
    16: "#e3b62c",
    17: "#3aa845",
}
