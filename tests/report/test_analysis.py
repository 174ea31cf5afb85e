import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from tdncalc.report import analysis

SKEWED = np.array([[9.0, 0, 0], [6.0, 7.0, 0], [-4.0, 3.0, 8.0]])
PERIODIC = np.array([True, True, True])


def turned(atoms, seed=4):
    copy = atoms.copy()
    rotation = Rotation.random(random_state=seed).as_matrix()
    copy.positions = atoms.positions @ rotation.T + [3.0, -2.0, 1.0]
    return copy


def walk(n_frames, n_atoms, scale):
    steps = np.random.default_rng(5).normal(scale=scale, size=(n_frames, n_atoms, 3))
    return np.cumsum(steps, axis=0)


def test_g_of_r_of_an_ideal_gas_is_one(gas):
    (found,) = analysis.pair_distances(gas, 6.0, n_bins=30)
    assert found.pair == "Ar–Ar"
    # 400 · 400 · 20 / 2 pairs in 2500 Å³: the shells beyond 3 Å hold over 5000 pairs each.
    assert found.values[found.r > 3] == pytest.approx(1.0, abs=0.04)
    assert found.values.max() < 2  # nobody is a neighbor of itself


def test_an_atom_in_its_own_cell_has_its_images_as_neighbors():
    argon = bulk("Ar", "fcc", a=5.4)
    (found,) = analysis.pair_distances([argon], 8.0, n_bins=400)
    shells = 4 * np.pi * found.r**2 * (found.r[2] - found.r[1]) / argon.get_volume()
    neighbors = np.cumsum(found.values * shells)
    assert neighbors[np.searchsorted(found.r, 4.5)] == pytest.approx(12, rel=1e-3)
    assert neighbors[np.searchsorted(found.r, 6.0)] == pytest.approx(18, rel=1e-3)


def test_distances_in_a_molecule_count_neighbors_per_atom():
    found = {pair.pair: pair for pair in analysis.pair_distances([molecule("CH4")], 3.0)}
    width = found["C–H"].r[2] - found["C–H"].r[1]
    assert found["C–H"].values.sum() * width == pytest.approx(4)
    assert found["H–H"].values.sum() * width == pytest.approx(3)
    assert found["C–H"].r[found["C–H"].values.argmax()] == pytest.approx(1.09, abs=width)
    assert "C–C" not in found


def test_distances_in_a_chain_count_neighbors_along_it():
    chain = Atoms("H", cell=[2.0, 1.0, 1.0], pbc=[True, False, False])
    (found,) = analysis.pair_distances([chain], 5.0)
    assert found.values.sum() * (found.r[2] - found.r[1]) == pytest.approx(4)


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (True, True, True)])
def test_every_pair_is_counted_however_the_other_vectors_lie(pbc):
    rng = np.random.default_rng(3)
    cell = np.array([[10.0, 0, 0], [0, 10, 0], [12, 7, 25]])
    atoms = Atoms("Ar60", rng.random((60, 3)) @ cell, cell=cell, pbc=pbc)
    (found,) = analysis.pair_distances([atoms], 4.0, n_bins=40)
    width = found.r[1] - found.r[0]
    pairs = found.values * len(atoms) * width
    if all(pbc):
        shells = 4 / 3 * np.pi * ((found.r + width / 2) ** 3 - (found.r - width / 2) ** 3)
        pairs = found.values * 60 * 60 * shells / atoms.get_volume()
    assert pairs.sum() == pytest.approx(len(neighbor_list("i", atoms, 4.0)), rel=1e-4)


def test_unwrapping_undoes_wrapping_in_a_skewed_cell():
    path = walk(200, 10, scale=0.6)
    wrapped = np.array([analysis.wrapped(p, SKEWED, PERIODIC) for p in path])
    found = analysis.unwrapped(((one, SKEWED) for one in wrapped), PERIODIC, range(200))
    assert np.ptp(path, axis=0).max() > 15  # atoms did leave the cell
    assert found - found[0] == pytest.approx(path - path[0], abs=1e-9)


def test_atoms_that_stand_still_in_a_breathing_cell_do_not_diffuse():
    still = np.random.default_rng(6).uniform(-3, 3, (8, 3))
    strains = [np.diag([1 + 0.1 * np.sin(k), 1, 1.1]) for k in range(50)]
    strained = [(still @ SKEWED @ strain, SKEWED @ strain) for strain in strains]
    found = analysis.unwrapped(strained, PERIODIC, range(50))
    assert np.ptp(found, axis=0).max() < 1e-9


def test_atoms_at_a_face_of_a_cell_that_moves_go_no_further_than_the_others():
    rng = np.random.default_rng(8)
    crystal = bulk("Cu", cubic=True) * (3, 1, 1)
    frames = []
    for _ in range(2000):
        strained = crystal.copy()
        strained.set_cell(crystal.cell * (1 + 0.01 * rng.normal()), scale_atoms=True)
        strained.positions += 0.05 * rng.normal(size=(12, 3))
        frames.append((strained.positions, strained.cell.array))
    paths = analysis.unwrapped(frames, PERIODIC, range(2000))
    squares = analysis.squared_displacements(paths)[1:1000]
    assert squares == pytest.approx(6 * 0.05**2, rel=0.3)


def test_atoms_that_walk_in_a_breathing_cell_go_as_far_as_they_step():
    steps = 0.2 * np.random.default_rng(9).normal(size=(100, 5, 3))
    positions, path = np.zeros((5, 3)), []
    for k, step in enumerate(steps):
        growth = (1 + 0.05 * np.sin(k + 1)) / (1 + 0.05 * np.sin(k))
        positions = growth * positions + step
        cell = SKEWED * (1 + 0.05 * np.sin(k + 1))
        path.append((analysis.wrapped(positions, cell, PERIODIC), cell))
    found = analysis.unwrapped(path, PERIODIC, range(100))
    assert found[1:] - found[0] == pytest.approx(np.cumsum(steps[1:], axis=0), abs=1e-9)


def test_an_open_direction_is_no_part_of_a_cell_that_moves():
    atoms = np.random.default_rng(10).random((6, 3)) @ SKEWED
    cells = [np.diag([9.0, 8.0, height]) for height in (10.0, 20.0, 5.0)]
    open_z = np.array([True, True, False])
    found = analysis.unwrapped(((atoms, cell) for cell in cells), open_z, range(3))
    assert np.ptp(found, axis=0).max() < 1e-9


def test_directions_that_are_not_periodic_are_left_alone():
    path = walk(100, 4, scale=1.0)
    open_z = np.array([True, True, False])
    found = analysis.unwrapped(((one, SKEWED) for one in path), open_z, range(100))
    assert (found - found[0])[..., 2] == pytest.approx((path - path[0])[..., 2])


@pytest.mark.parametrize("pbc", [PERIODIC, np.array([True, True, False])])
def test_minimum_image_is_the_shortest_in_a_cell_however_skewed(pbc):
    cell = np.array([[4.0, 0, 0], [18.0, 5.0, 0], [0, -14.0, 6.0]])
    vectors = np.random.default_rng(7).uniform(-6, 6, (50, 3))
    ranges = [np.arange(-n, n + 1) if p else [0] for n, p in zip((60, 14, 4), pbc, strict=True)]
    shifts = np.array(list(itertools.product(*ranges))) @ cell
    shortest = [np.linalg.norm(vector + shifts, axis=1).min() for vector in vectors]
    found = np.linalg.norm(analysis.minimum_image(vectors, cell, pbc), axis=1)
    assert found == pytest.approx(shortest)


def test_minimum_image_agrees_with_ase_in_a_skewed_cell():
    vectors = np.random.default_rng(7).uniform(-20, 20, (200, 3))
    reference, _ = find_mic(vectors, SKEWED, PERIODIC)
    found = analysis.minimum_image(vectors, SKEWED, PERIODIC)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(reference, axis=1))


def test_msd_of_uniform_motion_grows_with_the_square_of_time():
    velocity = np.array([[1.0, 2.0, 2.0], [3.0, 0.0, 0.0]])
    path = np.arange(50)[:, None, None] * velocity + 1000.0
    expected = 9.0 * np.arange(50) ** 2
    assert analysis.squared_displacements(path).mean(axis=1) == pytest.approx(expected, abs=1e-7)


def test_msd_is_the_mean_over_every_pair_of_frames():
    path = walk(40, 3, scale=1.0)
    direct = [((path[k:] - path[: 40 - k]) ** 2).sum(-1).mean() for k in range(40)]
    assert analysis.squared_displacements(path).mean(axis=1) == pytest.approx(direct, abs=1e-10)


def test_msd_of_a_random_walk_has_the_slope_of_its_diffusion():
    msd = analysis.squared_displacements(walk(400, 300, scale=0.1)).mean(axis=1)
    assert msd[1:40] == pytest.approx(3 * 0.1**2 * np.arange(1, 40), rel=0.05)


def test_drift_of_the_whole_is_taken_away():
    path = walk(20, 5, scale=0.1)
    masses = np.arange(1.0, 6.0)
    drifting = path + np.linspace(0, 9, 20)[:, None, None]
    found = analysis.without_drift(drifting, masses)
    assert found == pytest.approx(analysis.without_drift(path, masses))


def test_superposition_undoes_a_rotation():
    ethanol = molecule("CH3CH2OH")
    found = analysis.laid_over(turned(ethanol), ethanol)
    assert analysis.rmsd(found, ethanol.positions) < 1e-9


def test_superposition_does_not_mirror():
    chiral = Atoms(
        "CHFClBr", [[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.5], [-1, -1.6, -0.6]]
    )
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    assert analysis.rmsd(analysis.laid_over(mirrored, chiral), chiral.positions) > 0.3


def test_crystals_are_laid_over_up_to_lattice_vectors_and_a_shift():
    diamond = bulk("C", cubic=True)
    moved = diamond.copy()
    moved.positions += [0.3, 0.2, 0.1]
    moved.positions[3] += diamond.cell[1]
    moved.wrap()
    assert analysis.rmsd(analysis.laid_over(moved, diamond), diamond.positions) < 1e-9


@pytest.mark.parametrize("other", [molecule("CH3OCH3"), molecule("H2O"), bulk("C", cubic=True)])
def test_other_atoms_cannot_be_laid_over(other):
    assert analysis.laid_over(other, molecule("CH3CH2OH")) is None
