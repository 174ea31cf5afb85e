import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from tdncalc.errors import OptionError
from tdncalc.model_warnings import unlike_training
from tdncalc.workflows.guards import Guards, Watch, closest_pair
from tdncalc.workflows.md import MDSettings, run_md
from tdncalc.workflows.relax import RelaxSettings, relax

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


def test_an_absurd_temperature_is_short():
    atoms = Atoms("H")
    assert "1e+300 K" in Guards().trips(atoms, np.zeros((1, 3)), 1e300)
    assert "of 20001 K" in Guards().trips(atoms, np.zeros((1, 3)), 20001.0)


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


def test_a_vector_that_is_not_periodic_may_lie_in_the_plane_of_the_others():
    cell = [[4.0, 0, 0], [0, 4.0, 0], [1.0, 1.0, 0]]
    atoms = Atoms("H2", [[0.1, 0, 0], [3.9, 0, 0]], cell=cell, pbc=[True, True, False])
    i, j, distance = closest_pair(atoms, 0.5)
    assert (i, j, distance) == (0, 1, pytest.approx(0.2))


def test_own_image_is_no_pair():
    assert closest_pair(Atoms("H", cell=[0.3, 5, 5], pbc=True), 0.37) is None


LIMITS = (
    "max_temperature_K",
    "max_force",
    "min_distance",
    "max_volume_ratio",
    "max_gap",
    "max_novelty",
)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_limits_must_be_positive(name, value):
    with pytest.raises(OptionError, match=f"{name}=.*must be above 0"):
        Guards(**{name: value})


@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_every_volume_would_be_outside(ratio):
    with pytest.raises(OptionError, match=r"max_volume_ratio=.*: must be above 1, for instance 4"):
        Guards(max_volume_ratio=ratio)


class Stranger(Calculator):
    """No forces, and atoms that are the stranger the further they have come from the origin."""

    implemented_properties = ("energy", "forces")
    gives_novelty = True

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        far = np.linalg.norm(self.atoms.positions, axis=1)
        self.results = {"energy": 0.0, "forces": 0 * self.atoms.positions}
        self.results |= {"novelties": far, "novelty": far.max()}


def flying(symbols, positions, velocities):
    """Atoms without forces that fly off; the first stay where they are."""
    atoms = Atoms(symbols, positions)
    atoms.set_velocities(velocities)
    return atoms


def trips(atoms, start, **limits):
    """What guards say of a structure that was another at the start."""
    watch = Watch(Guards(max_temperature_K=None, min_distance=None, **limits), start)
    return watch.trips(atoms, np.zeros((len(atoms), 3)), 300.0, 20)


def test_novelty_stops_a_run_at_the_step_before_and_names_the_atom():
    atoms = flying("Ar2", [[-0.5, 0, 0], [0.5, 0, 0]], [[-0.02, 0, 0], [0.02, 0, 0]])
    settings = MDSettings(steps=200, ensemble="nve", guards=Guards(max_novelty=0.6, max_gap=None))
    result = run_md(atoms, settings=settings, calculator=Stranger())
    assert "novelty 0.6" in result.reason
    assert "of Ar (atom" in result.reason
    assert "is above the 0.6 of max_novelty" in result.reason
    assert 0.59 < result.atoms.arrays["novelties"].max() <= 0.6
    assert result.atoms.info["novelty"] == result.atoms.arrays["novelties"].max()


def test_novelty_is_warned_of_once_and_recorded_in_every_frame():
    atoms = flying("Ar2", [[-0.9, 0, 0], [0.9, 0, 0]], [[-0.1, 0, 0], [0.1, 0, 0]])
    seen = []
    settings = MDSettings(steps=40, ensemble="nve", interval=10)
    run_md(atoms, settings=settings, calculator=Stranger(), observer=seen.append)
    (warning,) = [step.warning for step in seen if step.warning is not None]
    assert "unlike the training set: novelty 1.0" in warning
    novelties = [step.frame.novelty for step in seen if step.frame is not None]
    assert len(novelties) == 5
    assert novelties == sorted(novelties)


def test_novelty_is_warned_of_again_where_it_has_doubled():
    atoms = flying("Ar2", [[-1.1, 0, 0], [1.1, 0, 0]], [[-0.1, 0, 0], [0.1, 0, 0]])
    seen = []
    settings = MDSettings(steps=250, ensemble="nve", guards=Guards(max_gap=None))
    run_md(atoms, settings=settings, calculator=Stranger(), observer=seen.append)
    first, second = [step.warning for step in seen if step.warning is not None]
    assert "novelty 1.10" in first
    assert "novelty 2.2" in second  # the first above 2 · 1.10


@pytest.mark.parametrize(
    ("largest", "n_beyond", "consequence"),
    [
        (1.4, 1, "; of 200 atoms of the set itself up to 1 would be above"),
        (1.4, 2, "; expect larger errors"),
        (2.1, 1, "; expect larger errors"),
    ],
)
def test_what_an_atom_of_many_above_1_means_is_told(largest, n_beyond, consequence):
    atoms = Atoms("Ar200")
    found = np.full(200, 0.3)
    found[:n_beyond] = largest
    atoms.set_array("novelties", found)
    text = unlike_training(atoms)
    assert text is not None
    assert text.endswith(consequence)


def test_a_limit_that_nothing_is_measured_against_is_refused():
    atoms = bulk("Cu", cubic=True)
    message = "max_novelty=3 needs a calculator that gives a novelty, and EMT gives none"
    with pytest.raises(OptionError, match=message):
        relax(atoms, calculator=EMT(), settings=RelaxSettings(max_novelty=3))
    settings = MDSettings(steps=1, guards=Guards(max_novelty=3))
    with pytest.raises(OptionError, match=message):
        run_md(atoms, calculator=EMT(), settings=settings)


def test_novelty_stops_a_relaxation():
    atoms = Atoms("Ar2", [[0, 0, 0], [3.0, 0, 0]])
    result = relax(atoms, calculator=Stranger(), settings=RelaxSettings(max_novelty=2.0))
    assert not result.converged
    assert result.reason == ("guard: the novelty 3 of Ar (atom 1) is above the 2 of max_novelty")


@pytest.mark.parametrize(("factor", "word"), [(1.3, "grew"), (0.75, "shrank")])
def test_volume_is_compared_with_the_start(factor, word):
    start, atoms = bulk("Cu"), bulk("Cu")
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)
    assert f"the volume {word} from 11.76 to" in trips(atoms, start, max_volume_ratio=2.0)
    assert trips(atoms, start, max_volume_ratio=2.5) is None


def test_a_piece_of_a_molecule_that_flies_off_is_named():
    start = molecule("CH3OH")
    atoms = start.copy()
    atoms.positions[[1, 3]] += [0, 0, 9.0]
    fault = trips(atoms, start)
    assert fault == (
        "O (atom 1), H (atom 3) left the molecule: nothing else within the 5 Å of max_gap"
    )
    assert trips(atoms, start, max_gap=12.0) is None


def test_a_piece_that_leaves_through_the_boundary_of_a_cell_is_missed_nowhere_near():
    start = molecule("CH3OH", cell=[8, 8, 8], pbc=True)
    atoms = start.copy()
    atoms.positions[3] += [0, 0, 8.0]  # an image: where it was
    assert trips(atoms, start) is None


def test_whole_molecules_may_leave():
    start = Atoms()
    for index in range(3):
        water = molecule("H2O")
        water.translate([2.9 * index, 0, 0])
        start += water
    atoms = start.copy()
    atoms.positions[3:6] += [0, 0, 40.0]
    assert trips(atoms, start) is None


def test_a_proton_may_go_over_to_another_molecule():
    start = Atoms()
    for index in range(3):
        water = molecule("H2O")
        water.translate([0, 3.0 * index, 0])
        start += water
    atoms = start.copy()
    atoms.positions[1] = atoms.positions[6] + [0, 0, 1.0]
    assert atoms.get_distance(0, 1) > 5
    assert trips(atoms, start) is None


def test_lost_pieces_are_looked_for_at_intervals():
    start, guards = molecule("CH3OH"), Guards()
    atoms = start.copy()
    atoms.positions[1] += [0, 0, 9.0]
    watch, calm = Watch(guards, start), np.zeros((len(atoms), 3))
    assert watch.trips(atoms, calm, 300.0, 19) is None
    assert watch.trips(atoms, calm, 300.0, 20) is not None
