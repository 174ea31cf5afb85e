"""What is measured of the frames themselves, where no table has it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units

from tdncalc.report.run import Floats, Kind
from tdncalc.workflows import velocities


def frame_columns(
    frames: Sequence[Atoms], kind: Kind, summary: dict[str, Any]
) -> dict[str, Floats]:
    """Measure every frame; a quantity that no frame has is left out.

    Returns
    -------
    dict
        The abscissa, ``step`` of a relaxation and ``time_fs`` or ``frame`` otherwise, and columns
        named as those of ``X-md.csv``, each ``(F,)``.
    """
    numbers = np.arange(len(frames), dtype=float)
    columns = dict([_abscissa(numbers, kind, summary)])
    measured = [_measure(atoms) for atoms in frames]
    for name in _MEASURED:
        values = np.array([row.get(name, math.nan) for row in measured])
        if np.isfinite(values).any():
            columns[name] = values
    return columns


def densities(columns: dict[str, Floats], atoms: Atoms) -> dict[str, Floats]:
    """Give the density of a cell that changes as a column, in g/cm³; nothing of another."""
    volumes = columns.get("volume_A3")
    if volumes is None or is_constant(volumes):
        return {}
    return {"density_g_per_cm3": float(atoms.get_masses().sum()) * _G_PER_CM3 / volumes}


def is_constant(values: Floats) -> bool:
    """Tell whether a positive quantity does not change but by rounding."""
    return bool(np.nanmax(values) - np.nanmin(values) <= 1e-9 * np.nanmax(values))


_G_PER_CM3 = float(units._amu) * 1e27  # of one amu/Å³
_ROUNDING = 1e-4  # also of numbers in a text; a million random vectors add to ten times as much
_MEASURED = (
    "temperature_K",
    "potential_eV",
    "kinetic_eV",
    "total_eV",
    "pressure_GPa",
    "volume_A3",
    "max_force",
    "novelty",
)


def _abscissa(numbers: Floats, kind: Kind, summary: dict[str, Any]) -> tuple[str, Floats]:
    if kind == "relax":
        return "step", numbers
    settings = summary.get("settings", {})
    if kind == "md" and {"interval", "timestep_fs"} <= set(settings):
        return "time_fs", numbers * float(settings["interval"]) * float(settings["timestep_fs"])
    return "frame", numbers


def _measure(atoms: Atoms) -> dict[str, float]:
    results = atoms.calc.results if atoms.calc is not None else {}
    row: dict[str, float] = {}
    if "energy" in results:
        row["potential_eV"] = float(results["energy"])
    if "forces" in results:
        row["max_force"] = float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))
    if "novelty" in atoms.info:
        row["novelty"] = float(atoms.info["novelty"])
    if atoms.has("momenta") and atoms.get_momenta().any():
        row["kinetic_eV"] = float(atoms.get_kinetic_energy())
        row["temperature_K"] = velocities.temperature(atoms, _free_momenta(atoms))
        if "energy" in results:
            row["total_eV"] = row["potential_eV"] + row["kinetic_eV"]
    if atoms.cell.rank == 3 and atoms.pbc.all():
        row["volume_A3"] = float(atoms.get_volume())
        if "stress" in results:
            row["pressure_GPa"] = _pressure(atoms, row.get("kinetic_eV", 0.0))
    return row


def _free_momenta(atoms: Atoms) -> int:
    """Count those that constraints leave, without those of a whole at rest.

    Dynamics that keep a whole at rest have fewer, and of a frame alone this is not known otherwise.
    """
    free = int(atoms.get_number_of_degrees_of_freedom())
    momenta = atoms.get_momenta()
    lengths = np.linalg.norm(momenta, axis=1)
    if _cancels(momenta, lengths) and velocities.translates(atoms):
        free -= 3
    arms = atoms.positions - atoms.get_center_of_mass()
    lengths *= np.linalg.norm(arms, axis=1)
    if _cancels(np.cross(arms, momenta), lengths):
        free -= velocities.rotations(atoms)
    return max(free, 0)


def _cancels(vectors: Floats, lengths: Floats) -> bool:
    """Tell whether vectors (N, 3), of such lengths at most, add to what rounding leaves of them."""
    return bool(np.linalg.norm(vectors.sum(axis=0)) <= _ROUNDING * lengths.sum())


def _pressure(atoms: Atoms, kinetic: float) -> float:
    """Give −tr σ / 3 with the kinetic part 2 K / 3 V, in GPa."""
    virial = -float(atoms.get_stress(apply_constraint=False)[:3].sum()) / 3
    return (virial + 2 * kinetic / (3 * float(atoms.get_volume()))) / float(units.GPa)
