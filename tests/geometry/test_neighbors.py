"""Neighbor lists against ASE's, in every periodicity, and the skin against none."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list

from tdncalc.errors import StructureError
from tdncalc.geometry.neighbors import SkinNeighborList, neighbor_list
from tests.structures import NAMES, structure

PERIODICITIES = [np.array([k & 1, k & 2, k & 4], dtype=bool) for k in range(8)]
BOX = np.diag([8.0, 9.0, 10.0])


def of(atoms: Atoms, cutoff: float):
    return neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)


def as_rows(edges):
    (source, target), shift = edges
    return np.column_stack([target, source, shift])


def as_set(edges):
    rows = as_rows(edges).tolist()
    assert len({*map(tuple, rows)}) == len(rows), "an edge is listed twice"
    return {*map(tuple, rows)}


def ase_set(positions, cell, pbc, cutoff):
    target, source, shift = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff)
    return {*map(tuple, np.column_stack([target, source, shift]).tolist())}


def random_structure(rng, cutoff):
    """Make a cell of either hand that holds a few atoms, some of them far outside it."""
    while True:
        cell = rng.normal(size=(3, 3)) * rng.uniform(2.0, 8.0) + np.eye(3)
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        if heights.min() > cutoff / 4:
            break
    n_atoms = rng.integers(1, max(2, min(15, int(np.abs(np.linalg.det(cell)) / 6))), endpoint=True)
    return rng.uniform(-1.5, 2.5, size=(n_atoms, 3)) @ cell, cell


@pytest.mark.parametrize("pbc", PERIODICITIES, ids=str)
def test_edges_are_those_of_ase_in_random_cells(pbc):
    rng = np.random.default_rng(int(pbc @ [1, 2, 4]))
    for cutoff in np.linspace(2.0, 8.0, 63):
        positions, cell = random_structure(rng, cutoff)
        edges = as_set(neighbor_list(positions, cell, pbc, cutoff))
        assert edges == ase_set(positions, cell, pbc, cutoff)


@pytest.mark.parametrize("name", NAMES)
def test_edges_are_those_of_ase(name):
    atoms = structure(name)
    expected = ase_set(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    assert as_set(of(atoms, 5.0)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_edges_are_sorted_by_target_source_and_shift(name):
    rows = as_rows(of(structure(name), 5.0))
    assert np.array_equal(rows, rows[np.lexsort(rows.T[::-1])])


@pytest.mark.parametrize("name", NAMES)
def test_every_edge_is_nearer_than_the_cutoff_and_has_its_reverse(name):
    atoms = structure(name)
    (source, target), shift = edges = of(atoms, 4.0)
    vectors = atoms.positions[source] + shift @ atoms.cell.array - atoms.positions[target]
    assert (np.linalg.norm(vectors, axis=1) < 4.0).all()
    reverse = (np.stack([target, source]), -shift)
    assert as_set(reverse) == as_set(edges)


def test_both_directions_of_a_pair_round_alike_at_the_cutoff():
    crystal = structure("one-atom fcc cell") * (3, 3, 3)
    nearest = np.linalg.norm(crystal.cell.array[0]) / 3
    for seed in range(20):
        moved = crystal.positions + np.random.default_rng(seed).uniform(-9, 9, size=3)
        (source, target), shift = edges = neighbor_list(
            moved, crystal.cell.array, crystal.pbc, nearest
        )
        assert 0 < len(shift) < 12 * len(crystal)
        assert as_set((np.stack([target, source]), -shift)) == as_set(edges)


def test_arrays_have_the_promised_shapes_and_types():
    for edges in (of(structure("water"), 5.0), of(Atoms("H"), 5.0), of(structure("slab"), 5.0)):
        assert edges[0].dtype == edges[1].dtype == np.int64
        assert edges[0].shape == (2, len(edges[1]))
        assert edges[1].shape[1] == 3


@pytest.mark.parametrize("pbc", [False, True])
def test_no_atoms_have_no_edges(pbc):
    edge_index, edge_shift = of(Atoms(cell=BOX, pbc=pbc), 5.0)
    assert edge_index.shape == (2, 0)
    assert edge_shift.shape == (0, 3)


@pytest.mark.parametrize(
    "cell",
    [
        [[4, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[4, 0, 0], [8, 0, 0], [0, 1, 0]],
        [[4, 0, 0], [0, 1e-3, 0], [0, 0, 1e6]],
    ],
    ids=["zero", "dependent", "extreme"],
)
def test_vectors_of_directions_without_pbc_do_not_matter(cell):
    atoms = Atoms("C3", [[0, 0, 0], [1, 1, 1], [9, 3, -2]], cell=cell, pbc=(True, False, False))
    expected = as_set(neighbor_list(atoms.positions, np.diag([4.0, 99, 99]), atoms.pbc, 5.0))
    assert as_set(of(atoms, 5.0)) == expected


def test_own_images_are_neighbors_but_never_the_atom_itself():
    edge_index, edge_shift = of(Atoms("H", cell=np.eye(3), pbc=True), 1.1)
    assert edge_index.tolist() == [[0] * 6, [0] * 6]
    assert np.abs(edge_shift).sum(axis=1).tolist() == [1] * 6


def test_pair_at_exactly_the_cutoff_is_left_out():
    assert of(Atoms("H2", [[0, 0, 0], [0, 0, 5.0]]), 5.0)[0].shape == (2, 0)
    assert of(Atoms("H2", [[0, 0, 0], [0, 0, np.nextafter(5.0, 0)]]), 5.0)[0].shape == (2, 2)


@pytest.mark.parametrize("pbc", [False, True])
def test_translation_far_from_the_origin_keeps_the_edges(pbc):
    atoms = structure("organic box")
    atoms.pbc = pbc
    before = of(atoms, 5.0)
    atoms.positions += 1000.0
    assert as_set(of(atoms, 5.0)) == as_set(before)


@pytest.mark.parametrize("pbc", PERIODICITIES[1:], ids=str)
def test_atoms_far_outside_a_skewed_cell_have_their_neighbors_soon(pbc):
    rng = np.random.default_rng(5)
    cell = np.array([[9.7, -3.8, -1.5], [-1.3, 6.6, 5.1], [6.5, -2.7, 12.9]])
    positions = rng.random((47, 3)) @ cell
    (source, target), shift = neighbor_list(positions, cell, pbc, 2.5)
    cells = rng.integers(-300, 301, (47, 3)) * pbc
    began = time.monotonic()
    moved = neighbor_list(positions + cells @ cell, cell, pbc, 2.5)
    assert time.monotonic() - began < 5  # of the order of a millisecond, or else of a minute
    expected = (source, target), shift - cells[source] + cells[target]
    assert as_set(moved) == as_set(expected)


def test_lost_atom_far_from_a_molecule_is_no_trouble():
    atoms = structure("aspirin")
    expected = as_set(of(atoms, 5.0))
    assert as_set(of(atoms + Atoms("H", [[1e9, 0, 0]]), 5.0)) == expected


def test_order_is_the_same_where_the_sorting_key_would_overflow():
    atoms = structure("organic box")
    expected = as_rows(of(atoms, 5.0))
    moved = np.array([10**6, 10**7, -(10**7)])
    atoms.positions[7] += moved @ atoms.cell.array
    rows = as_rows(of(atoms, 5.0))
    assert np.array_equal(rows, rows[np.lexsort(rows.T[::-1])])
    rows[:, 2:] += moved * ((rows[:, 1] == 7).astype(int) - (rows[:, 0] == 7))[:, None]
    assert {*map(tuple, rows.tolist())} == {*map(tuple, expected.tolist())}


@pytest.mark.parametrize(
    ("atoms", "culprit"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), "NaN or infinite"),
        (Atoms("H", cell=[np.inf, 1, 1], pbc=True), "NaN or infinite"),
        (Atoms("H", cell=[1, 1, 0], pbc=True), "no extent"),
        (Atoms("H", cell=[3, 3, 1e7], pbc=True), "too long and thin"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 1e8]], cell=[3, 3, 3], pbc=(1, 1, 0)), "too long and thin"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 1e12]], cell=[3, 3, 3], pbc=True), "outside the cell"),
    ],
    ids=["NaN", "infinite", "flat", "long cell", "far atom", "far outside"],
)
def test_what_cannot_be_searched_is_refused(atoms, culprit):
    with pytest.raises(StructureError, match=culprit):
        of(atoms, 5.0)


def assert_same(edges, expected):
    assert np.array_equal(edges[0], expected[0])
    assert np.array_equal(edges[1], expected[1])


@pytest.mark.parametrize("pbc", PERIODICITIES, ids=str)
def test_skin_changes_no_bit_along_a_walk_with_a_moving_cell(pbc):
    rng = np.random.default_rng(17)
    atoms = structure("organic box")
    positions, cell = atoms.positions, atoms.cell.array
    skin = SkinNeighborList(4.0, 1.0)
    for _ in range(60):
        strain = np.eye(3) + rng.normal(scale=2e-3, size=(3, 3))
        cell, positions = cell @ strain, positions @ strain
        positions = positions + rng.normal(scale=0.04, size=positions.shape)
        assert_same(skin.update(positions, cell, pbc), neighbor_list(positions, cell, pbc, 4.0))
    assert 1 < skin.n_builds < 30


def test_skin_holds_when_the_cell_shrinks_and_the_atoms_do_not_follow():
    rng = np.random.default_rng(2)
    atoms = structure("left-handed cell")
    skin = SkinNeighborList(3.0, 0.8)
    cell = atoms.cell.array
    for _ in range(30):
        cell = cell @ (np.eye(3) + rng.normal(scale=5e-3, size=(3, 3)) - 3e-3 * np.eye(3))
        edges = skin.update(atoms.positions, cell, atoms.pbc)
        assert_same(edges, neighbor_list(atoms.positions, cell, atoms.pbc, 3.0))
    assert skin.n_builds < 30


@pytest.mark.parametrize(
    ("approach", "n_edges", "n_builds"), [(0.0, 0, 1), (0.49, 0, 1), (0.51, 0, 2), (0.52, 2, 2)]
)
def test_skin_is_searched_anew_when_two_atoms_have_used_it_up(approach, n_edges, n_builds):
    skin = SkinNeighborList(5.0, 1.0)
    for z in (0.0, approach):
        positions = np.array([[0.0, 0.0, z], [0.0, 0.0, 6.03 - z]])
        edge_index, _ = skin.update(positions, np.zeros((3, 3)), PERIODICITIES[0])
    assert edge_index.shape == (2, n_edges)
    assert skin.n_builds == n_builds


@pytest.mark.parametrize("name", ["aspirin", "slab", "organic box"])
def test_skin_survives_what_moves_all_atoms_alike(name):
    atoms = structure(name)
    skin = SkinNeighborList(5.0, 1.0)
    for scale in (1.0, 1.02, 0.98):
        atoms.positions += 7.0
        scaled = atoms.positions * scale if atoms.pbc.all() else atoms.positions
        cell = atoms.cell.array * scale
        assert_same(
            skin.update(scaled, cell, atoms.pbc), neighbor_list(scaled, cell, atoms.pbc, 5.0)
        )
    assert skin.n_builds == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.__delitem__(0),
        lambda atoms: setattr(atoms, "pbc", (True, False, True)),
        lambda atoms: atoms.wrap(),
        lambda atoms: atoms.set_cell(atoms.cell.array[[1, 0, 2]]),
        lambda atoms: atoms.set_cell(atoms.cell.array * 0.7, scale_atoms=True),
    ],
    ids=["fewer atoms", "pbc", "wrapped", "vectors exchanged", "compressed"],
)
def test_skin_notices_another_structure(change):
    atoms = structure("atoms outside the cell")
    skin = SkinNeighborList(4.0, 1.0)
    skin.update(atoms.positions, atoms.cell.array, atoms.pbc)
    change(atoms)
    edges = skin.update(atoms.positions, atoms.cell.array, atoms.pbc)
    assert_same(edges, of(atoms, 4.0))
    assert skin.n_builds == 2


def test_skin_keeps_no_reference_to_what_it_is_given():
    atoms = structure("organic box")
    cell = atoms.cell.array
    skin = SkinNeighborList(5.0, 0.5)
    skin.update(atoms.positions, cell, atoms.pbc)
    atoms.positions[0] += 2.0
    cell *= 0.9
    assert_same(skin.update(atoms.positions, cell, atoms.pbc), of(atoms, 5.0))


def test_edges_returned_earlier_stay_as_they_are():
    atoms = structure("organic box")
    skin = SkinNeighborList(5.0, 0.5)
    edge_index, edge_shift = skin.update(atoms.positions, atoms.cell.array, atoms.pbc)
    kept = edge_index.copy(), edge_shift.copy()
    edge_index[:] = edge_shift[:] = 0
    assert_same(skin.update(atoms.positions, atoms.cell.array, atoms.pbc), kept)


def test_without_skin_every_call_searches():
    atoms = structure("water")
    skin = SkinNeighborList(5.0, 0.0)
    for _ in range(3):
        assert_same(skin.update(atoms.positions, atoms.cell.array, atoms.pbc), of(atoms, 5.0))
    assert skin.n_builds == 3


def test_skin_refuses_nan_after_a_good_step():
    atoms = structure("organic box")
    skin = SkinNeighborList(5.0, 1.0)
    skin.update(atoms.positions, atoms.cell.array, atoms.pbc)
    for positions, cell in [
        (atoms.positions * np.nan, atoms.cell.array),
        (atoms.positions, atoms.cell.array * np.nan),
    ]:
        with pytest.raises(StructureError, match="NaN or infinite"):
            skin.update(positions, cell, atoms.pbc)
