import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from tdncalc.errors import OptionError
from tdncalc.workflows.guards import Guards, closest_pair

CALM = np.zeros((2, 3))


def test_calm_step_passes():
    assert Guards().trips(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), CALM, 300.0) is None


def test_force_is_named_with_its_atom():
    forces = np.array([[0, 0, 0], [0, 300.0, 0]])
    fault = Guards(max_force=50).trips(Atoms("HF", [[0, 0, 0], [0, 0, 1]]), forces, 300.0)
    assert fault == "the force of 300 eV/Å on F (atom 1) is above 50"


def test_temperature_is_named():
    fault = Guards(max_temperature_K=1000).trips(Atoms("HF", [[0, 0, 0], [0, 0, 1]]), CALM, 2000.4)
    assert fault == "the temperature of 2000 K is above 1000"


def test_close_pair_is_named():
    fault = Guards().trips(Atoms("HF", [[0, 0, 0], [0, 0, 0.3]]), CALM, 300.0)
    assert fault == "H (atom 0) and F (atom 1) are 0.300 Å apart, below 0.37"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_trips_even_without_limits(bad):
    none = Guards(max_temperature_K=None, max_force=None, min_distance=None)
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    assert "not a number" in none.trips(atoms, np.full((2, 3), bad), 300.0)
    assert "not a number" in none.trips(atoms, CALM, bad)
    assert none.trips(atoms, CALM + 1e9, 1e9) is None


@pytest.mark.parametrize("seed", range(20))
def test_closest_pair_is_that_of_ase(seed):
    rng = np.random.default_rng(seed)
    cell = bulk("Cu", a=9.0).cell.array @ (np.eye(3) + rng.normal(0, 0.2, (3, 3)))
    atoms = Atoms("H60", rng.normal(0, 20, (60, 3)), cell=cell, pbc=rng.random(3) < 0.7)
    distances = atoms.get_all_distances(mic=True)
    distances[np.tril_indices(60)] = np.inf
    shortest = distances.min()
    assert closest_pair(atoms, shortest * 0.999) is None
    i, j, distance = closest_pair(atoms, shortest * 1.001)
    assert (i, j) == np.unravel_index(distances.argmin(), distances.shape)
    assert distance == pytest.approx(shortest)


def test_own_image_is_no_pair():
    assert closest_pair(Atoms("H", cell=[0.3, 5, 5], pbc=True), 0.37) is None


@pytest.mark.parametrize("name", ["max_temperature_K", "max_force", "min_distance"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_limits_must_be_positive(name, value):
    with pytest.raises(OptionError, match=f"{name}=.*must be above 0"):
        Guards(**{name: value})
