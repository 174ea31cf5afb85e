"""What frames alone tell of a run."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCom

from tdncalc.report.measures import frame_columns
from tdncalc.workflows import velocities

KELVIN = 300.0


def moving(atoms: Atoms, seed: int) -> Atoms:
    momenta = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta * np.sqrt(atoms.get_masses() * units.kB * KELVIN)[:, None])
    return atoms


def drifting(atoms: Atoms) -> Atoms:
    return atoms


def at_rest(atoms: Atoms) -> Atoms:
    velocities.still(atoms)
    return atoms


def turning(atoms: Atoms) -> Atoms:
    """Without a drift, as a thermostat that pushes single atoms leaves it."""
    momenta = atoms.get_momenta()
    masses = atoms.get_masses()[:, None]
    atoms.set_momenta(momenta - masses * momenta.sum(0) / masses.sum(), apply_constraint=False)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "motion", "free"),
    [
        (molecule("H2O"), drifting, 9),
        (molecule("H2O"), turning, 6),
        (molecule("H2O"), at_rest, 3),
        (molecule("N2"), at_rest, 1),
        (bulk("Cu", cubic=True), drifting, 12),
        (bulk("Cu", cubic=True), at_rest, 9),
    ],
)
def test_temperature_counts_the_momenta_that_are_free(atoms, motion, free):
    frames = [motion(moving(atoms.copy(), seed)) for seed in range(3)]
    found = frame_columns(frames, "md", {})["temperature_K"]
    expected = [2 * frame.get_kinetic_energy() / (free * units.kB) for frame in frames]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("constraint", "free"), [(FixAtoms([0, 1]), 6), (FixCom(), 9)])
def test_temperature_counts_constraints_once(constraint, free):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(constraint)
    frame = moving(atoms, 0)
    (found,) = frame_columns([frame], "md", {})["temperature_K"]
    assert found == pytest.approx(2 * frame.get_kinetic_energy() / (free * units.kB), rel=1e-12)
