"""Starts that no potential can sort out."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.constraints import FixAtoms

from tdncalc.workflows.tangles import untangle


@pytest.fixture
def ethane() -> Atoms:
    """Hydrogens 0.3 Å apart on one of the carbons."""
    atoms = molecule("C2H6")
    atoms.positions[3] = atoms.positions[2] + [0.3, 0.0, 0.0]
    return atoms


def test_hydrogens_of_one_atom_come_apart(ethane):
    before = ethane.positions.copy()
    moved = untangle(ethane)
    assert ethane.get_distance(2, 3) > 1.45
    ways = np.linalg.norm(ethane.positions - before, axis=1)
    assert (moved.n_atoms, moved.largest_A) == (2, ways.max())
    assert str(moved).startswith(
        "2 atoms lay far too near to others: moved apart first, by up to 0"
    )


def test_fixed_atom_stays_and_the_other_goes(ethane):
    ethane.set_constraint(FixAtoms([2]))
    before = ethane.positions.copy()
    assert untangle(ethane).n_atoms == 1
    assert ethane.get_distance(2, 3) > 1.45
    np.testing.assert_array_equal(ethane.positions[2], before[2])


def test_nothing_is_said_where_all_are_fixed(ethane):
    ethane.set_constraint(FixAtoms([2, 3]))
    assert untangle(ethane) is None


def test_atoms_come_apart_across_the_boundary():
    atoms = Atoms("C2", [[0.1, 0, 0], [7.9, 0, 0]], cell=[8.0] * 3, pbc=True)
    untangle(atoms)
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(1.52, abs=0.02)


@pytest.mark.parametrize("height", [1.54, 1.74, 1.94])
def test_hydrogen_molecule_at_a_metal_atom_stays_whole(height):
    atoms = Atoms("PdH2", [[0, 0, 0], [0.37, 0, height], [-0.37, 0, height]])
    untangle(atoms)
    assert atoms.get_distance(1, 2) == pytest.approx(0.74)


def test_hydrogens_of_two_molecules_at_the_length_of_a_bond_come_apart():
    atoms = molecule("CH4") + molecule("CH4")
    other, axis = atoms[:5].copy(), atoms.positions[1] / np.linalg.norm(atoms.positions[1])
    other.positions = -other.positions + 2 * atoms.positions[1] + 0.74 * axis
    atoms.positions[5:] = other.positions
    assert atoms.get_distance(1, 6) == pytest.approx(0.74)
    untangle(atoms)
    assert atoms.get_distance(1, 6) > 1.2


def test_molecules_as_they_are_stay_so():
    for name in g2.names:
        atoms = molecule(name)
        assert untangle(atoms) is None
        np.testing.assert_array_equal(atoms.positions, molecule(name).positions, err_msg=name)


@pytest.mark.parametrize("symbol", ["Cu", "C", "Si", "Na"])
def test_compressed_crystals_stay_as_they_are(symbol):
    atoms = bulk(symbol)
    atoms.set_cell(0.85 * atoms.cell.array, scale_atoms=True)
    before = atoms.positions.copy()
    untangle(atoms)
    np.testing.assert_array_equal(atoms.positions, before)
