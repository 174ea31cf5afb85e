"""Ways down from where optimizers climb, turn in circles or run away."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from tdncalc.workflows.relax import RelaxSettings, relax


class Wave(Calculator):
    """One atom in E = cos x + 0.01 (y² + z²): maxima at 0 and 2π, a minimum at π."""

    implemented_properties = ("energy", "free_energy", "forces")
    curl = 0.0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[0]
        energy = np.cos(x) + 0.01 * (y**2 + z**2)
        forces = [[np.sin(x) - self.curl * y, self.curl * x - 0.02 * y, -0.02 * z]]
        self.results = {"energy": energy, "free_energy": energy, "forces": np.array(forces)}


class Whirl(Wave):
    """The same energy with forces that are no gradient of it."""

    curl = 1.0


class Well(Wave):
    """Two atoms that attract each other more and more: E = −1/r."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        Calculator.calculate(self, atoms, properties, system_changes)
        vector = self.atoms.positions[1] - self.atoms.positions[0]
        r = np.linalg.norm(vector)
        pull = vector / r**3
        self.results = {"energy": -1 / r, "free_energy": -1 / r, "forces": np.array([pull, -pull])}


class Rocket(Wave):
    """Rises with every evaluation by 3 eV, whatever the forces say."""

    n_calls = 0

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results["energy"] = self.results["free_energy"] = 3.0 * self.n_calls
        self.n_calls += 1


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire", "bfgs"])
@pytest.mark.parametrize("x", [0.1, 0.5, 1.2])
def test_from_beside_a_maximum_it_finds_the_minimum(optimizer, x):
    settings = RelaxSettings(optimizer=optimizer, fmax=1e-3)
    result = relax(Atoms("H", [[x, 0, 0]]), calculator=Wave(), settings=settings)
    assert result.converged
    assert result.atoms.positions[0, 0] == pytest.approx(np.pi, abs=2e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs"])
def test_steps_that_are_taken_do_not_climb(optimizer, morse):
    rng = np.random.default_rng(5)
    cluster = Atoms("Cu13", rng.uniform(0, 5.5, (13, 3)))
    seen = []
    settings = RelaxSettings(optimizer=optimizer, steps=400)
    result = relax(cluster, calculator=morse(), settings=settings, observer=seen.append)
    assert result.converged
    energies = np.array([step.energy for step in seen])
    lowest = np.minimum.accumulate(energies)
    highs = energies > lowest + 1e-3
    assert not (highs[5:] & highs[4:-1] & highs[3:-2] & highs[2:-3] & highs[1:-4]).any()
    assert energies[-1] <= lowest[-1] + 1e-3


def test_forces_without_an_energy_end_with_a_reason():
    settings = RelaxSettings(steps=5000, fmax=1e-6)
    result = relax(Atoms("H", [[1.0, 0.5, 0]]), calculator=Whirl(), settings=settings)
    assert not result.converged
    assert "oscillates: neither energy nor force fell in the last 100 steps" in result.reason
    assert result.steps < 1000


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire", "bfgs"])
def test_atoms_that_fall_into_each_other_are_named(optimizer):
    settings = RelaxSettings(optimizer=optimizer)
    result = relax(Atoms("CO", [[0, 0, 0], [0, 0, 1.6]]), calculator=Well(), settings=settings)
    assert not result.converged
    assert result.reason.startswith("C (atom 0) and O (atom 1) fell into each other, 0.")
    assert result.atoms.get_distance(0, 1) > 0.37


def test_fire_that_explodes_ends_at_the_lowest_structure():
    settings = RelaxSettings(optimizer="fire")
    start = Atoms("H", [[1.0, 0, 0]])
    result = relax(start, calculator=Rocket(), settings=settings)
    assert (result.converged, result.steps) == (False, 2)
    assert result.reason == "exploded: the energy rose by 6 eV/atom"
    np.testing.assert_array_equal(result.atoms.positions, start.positions)


@pytest.mark.parametrize("scale", [0.85, 1.15])
@pytest.mark.parametrize("cell", ["full", "isotropic"])
@pytest.mark.parametrize("pressure", [0.0, 5.0])
def test_cells_far_from_their_minimum_arrive(scale, cell, pressure):
    settings = RelaxSettings(cell=cell, fmax=0.005, pressure_GPa=pressure)
    atoms = bulk("Cu", cubic=True)
    near = relax(atoms, calculator=EMT(), settings=settings)
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    if cell == "full":
        atoms.rattle(0.1, seed=1)
    far = relax(atoms, calculator=EMT(), settings=settings)
    assert far.converged
    assert far.energy == pytest.approx(near.energy, abs=1e-3)
    assert far.atoms.get_volume() == pytest.approx(near.atoms.get_volume(), rel=1e-3)
