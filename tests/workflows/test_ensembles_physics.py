"""Distributions of thermostats and barostat; tolerances are four times the spread of seeds."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_strain
from scipy.linalg import sqrtm
from scipy.optimize import brentq
from scipy.special import expit

from tdncalc.workflows import ensembles, velocities
from tdncalc.workflows.md import MDSettings

pytestmark = pytest.mark.physics
KT = units.kB * 300.0


def sample(atoms, settings, measure, *, skip):
    """What `measure` gives of the atoms, in every third step after the first `skip`."""
    rng = np.random.default_rng(settings.seed)
    free = ensembles.free_momenta(atoms, settings)
    velocities.thermalize(atoms, settings.temperature_K, free, rng)
    integrator = ensembles.build(atoms, settings, free, rng)
    found = []
    for step in range(settings.steps):
        integrator.step()
        if step >= skip and step % 3 == 0:
            found.append(np.array(measure(atoms)))
    return np.array(found)


def kinetic_energies(atoms):
    return (atoms.get_momenta() ** 2).sum(axis=1) / (2 * atoms.get_masses())


def inner_pressure(atoms):
    """The pressure tensor with the kinetic part, eV/Å³."""
    return -atoms.get_stress(voigt=False, include_ideal_gas=True)


def difference_of_beta(cold, hot):
    """1/kT of one sample of energies less that of another, by the most likely ratio.

    M. R. Shirts, J. Chem. Theory Comput. 9, 909 (2013), Eq. 6: whatever the density of states,
    P(E|cold) / P(E|hot) = exp(a - (β_cold - β_hot) E).
    """
    energies = np.concatenate([cold, hot]) - np.mean(np.concatenate([cold, hot]))
    is_cold = np.arange(len(energies)) < len(cold)

    def offset(slope):
        return brentq(lambda a: (expit(a - slope * energies) - is_cold).sum(), -50, 50)

    def gradient(slope):
        return ((expit(offset(slope) - slope * energies) - is_cold) * energies).sum()

    return brentq(gradient, 0, 400)


# Chains mix the few modes of so small a crystal slowly.
MIXING = {"nvt-langevin": 0.15, "nvt-bussi": 0.4, "nvt-nose-hoover": 0.7}


@pytest.mark.parametrize("ensemble", MIXING)
def test_thermostat_samples_the_canonical_ensemble(morse, ensemble):
    """Heavy and light atoms alike, in velocities and in positions, at two temperatures."""
    potential = []
    for kelvin in (300.0, 600.0):
        settings = MDSettings(
            9_000,
            ensemble,
            temperature_K=kelvin,
            timestep_fs=4.0,
            thermostat_time_fs=25.0,
            friction_per_fs=0.03,
            seed=1,
        )
        atoms = bulk("Cu", a=3.65, cubic=True)
        atoms.set_masses([63.5, 63.5, 25.0, 25.0])
        atoms.rattle(0.1, seed=1)
        atoms.calc = morse()
        found = sample(
            atoms, settings, lambda a: [a.get_potential_energy(), *kinetic_energies(a)], skip=300
        )
        thermal = units.kB * kelvin
        potential.append(found[:, 0])
        kinetic = found[:, 1:] / thermal
        # 12 momenta, less 3 of the whole, which each atom lacks in proportion to its mass.
        assert kinetic.sum(axis=1).mean() == pytest.approx(4.5, rel=0.1)
        assert kinetic.sum(axis=1).var() == pytest.approx(4.5, rel=0.4)
        share = 1.5 * (1 - atoms.get_masses() / atoms.get_masses().sum())
        for kind in (slice(0, 2), slice(2, 4)):
            found = kinetic[:, kind].mean() / share[kind].mean()
            assert found == pytest.approx(1.0, abs=MIXING[ensemble])
    assert difference_of_beta(*potential) * units.kB * 600.0 == pytest.approx(1.0, abs=0.35)


def crystal(morse, a):
    atoms = bulk("Cu", a=a, cubic=True)
    atoms.calc = morse()
    return atoms


def mean_pressure(morse, a, seed):
    """The pressure of a fixed cell at 300 K, eV/Å³."""
    settings = MDSettings(3_000, "nvt-bussi", timestep_fs=4.0, thermostat_time_fs=50.0, seed=seed)
    pressures = sample(crystal(morse, a), settings, inner_pressure, skip=500)
    return np.trace(pressures.mean(axis=0)) / 3


def barostatted(morse, cell):
    """Pressures (M, 3, 3) and cells (M, 3, 3) at 300 K and 1 GPa."""
    settings = MDSettings(
        12_000,
        "npt-mtk",
        pressure_GPa=1.0,
        cell=cell,
        timestep_fs=4.0,
        thermostat_time_fs=50.0,
        barostat_time_fs=400.0,
        seed=3,
    )
    found = sample(
        crystal(morse, 3.67),
        settings,
        lambda atoms: [inner_pressure(atoms), atoms.cell.array],
        skip=1_500,
    )
    return found[:, 0], found[:, 1]


def test_volume_fluctuates_as_the_equation_of_state_says(morse):
    # <δV²> = -kT dV/dP at constant temperature, and by parts cov(V, P) = -kT, <P> = P₀.
    tensors, cells = barostatted(morse, "isotropic")
    pressures, volumes = np.trace(tensors, axis1=1, axis2=2) / 3, np.linalg.det(cells)
    edges = volumes.mean() ** (1 / 3) * np.array([0.995, 1.005])
    fixed = [mean_pressure(morse, a, seed) for seed, a in enumerate(edges)]
    compliance = -np.diff(edges**3)[0] / np.diff(fixed)[0]
    assert volumes.var() / (KT * compliance) == pytest.approx(1.0, abs=0.55)
    assert -np.cov(volumes, pressures)[0, 1] / KT == pytest.approx(1.0, abs=0.4)
    assert pressures.mean() / units.GPa == pytest.approx(1.0, abs=0.06)


def test_full_cell_has_the_pressure_and_the_strains_of_its_elastic_constants(morse):
    pressures, cells = barostatted(morse, "full")
    np.testing.assert_allclose(pressures.mean(axis=0) / units.GPa, np.eye(3), atol=0.15)
    strains = green_strains(cells)
    reference = crystal(morse, np.linalg.det(cells).mean() ** (1 / 3))
    stiffness = enthalpy_hessian(reference, 1.0 * units.GPa)
    energies = np.einsum("ti,ij,tj->t", strains, stiffness, strains) / 2
    assert energies.mean() == pytest.approx(3 * KT, rel=0.4)  # six strains
    # Strained without turning: a symmetric matrix times the first cell.
    deformations = np.linalg.solve(crystal(morse, 3.67).cell.array, cells)
    np.testing.assert_allclose(deformations, deformations.transpose(0, 2, 1), atol=1e-9)


def green_strains(cells):
    """Strains (M, 6) from the mean cell, in Voigt's order."""
    deformations = np.linalg.solve(cells.mean(axis=0), cells)
    strains = (deformations @ deformations.transpose(0, 2, 1) - np.eye(3)) / 2
    return strains[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]


def enthalpy_hessian(atoms, pressure, step=2e-3):
    """Second derivatives (6, 6) of E + P V by the strains, eV."""

    def enthalpy(voigt):
        # ASE gives 1 + strain; that of Green is half the square of the stretch less 1/2.
        stretch = sqrtm(2 * voigt_6_to_full_3x3_strain(voigt) - np.eye(3))
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ stretch, scale_atoms=True)
        strained.calc = atoms.calc
        return strained.get_potential_energy() + pressure * strained.get_volume()

    unit = step * np.eye(6)
    return np.array(
        [
            [sum(a * b * enthalpy(a * u + b * v) for a in (1, -1) for b in (1, -1)) for v in unit]
            for u in unit
        ]
    ) / (4 * step**2)
