"""Internal coordinates against finite differences of what they measure."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from tdncalc.workflows import internals as module
from tdncalc.workflows.bonds import Frame, find_bonds
from tdncalc.workflows.cell_modes import STRAIN_LENGTH, free_strain
from tdncalc.workflows.internals import internals

STEP = 1e-5  # Å


def frame(atoms, fixed=(), cell="fixed"):
    mask = np.isin(np.arange(len(atoms)), fixed)
    strain = free_strain(cell, len(atoms))
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, mask, strain)


def shaken(name):
    atoms = molecule(name)
    atoms.rattle(0.1, seed=1)
    return atoms


def hessian(frames):
    gradients, stiffness = internals(frames)
    return (gradients.T * stiffness @ gradients).toarray()


def differences(measure, atoms):
    """Return the gradient (N, 3) of a measure of atoms."""
    gradient = np.zeros((len(atoms), 3))
    for place in np.ndindex(*gradient.shape):
        for sign in (1, -1):
            atoms.positions[place] += sign * STEP
            gradient[place] += sign * measure(atoms) / (2 * STEP)
            atoms.positions[place] -= sign * STEP
    return gradient


def of_kind(kind, atoms):
    """Return the bonds of each coordinate of a kind as chains of atoms, and the gradients."""
    bonds = find_bonds([frame(atoms)])
    found = kind(bonds)
    found = found[0] if isinstance(found, list) else found
    size = len(found.bonds), 3 * len(atoms)
    gradients = np.zeros(size)
    for rows, columns, values in module._entries(found, bonds, [frame(atoms)]):
        np.add.at(gradients, (rows, columns), values)
    return bonds, found, gradients.reshape(size[0], -1, 3)


def test_gradients_of_stretches_are_those_of_distances():
    atoms = shaken("CH3CH2OH")
    bonds, found, gradients = of_kind(module._stretches, atoms)
    assert len(found.bonds) >= 8
    for (bond,), gradient in zip(found.bonds, gradients, strict=True):
        pair = int(bonds.i[bond]), int(bonds.j[bond])
        expected = differences(lambda a, pair=pair: a.get_distance(*pair), atoms)
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_gradients_of_bends_are_those_of_angles():
    atoms = shaken("CH3CH2OH")
    bonds, found, gradients = of_kind(module._bends, atoms)
    assert len(found.bonds) >= 13
    for (a, b), gradient in zip(found.bonds, gradients, strict=True):
        chain = int(bonds.j[a]), int(bonds.i[a]), int(bonds.j[b])
        expected = differences(lambda x, chain=chain: np.radians(x.get_angle(*chain)), atoms)
        np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_gradients_of_torsions_are_those_of_dihedrals_but_for_the_sign():
    atoms = shaken("H2O2")
    bonds, found, gradients = of_kind(module._torsions, atoms)
    assert len(found.bonds) >= 1
    for (k, _, end), gradient in zip(found.bonds, gradients, strict=True):
        chain = [int(at) for at in (bonds.j[k], bonds.i[k], bonds.i[end], bonds.j[end])]
        expected = differences(lambda x, chain=chain: np.radians(x.get_dihedral(*chain)), atoms)
        np.testing.assert_allclose(-gradient, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["C2H2", "CH3CN", "C6H6", "H2O2"])
def test_the_hessian_is_positive_and_knows_no_translation(name):
    atoms = shaken(name)
    found = hessian([frame(atoms)])
    np.testing.assert_allclose(found, found.T, atol=1e-10)
    assert np.linalg.eigvalsh(found).min() > -1e-8
    for axis in np.eye(3):
        shift = np.tile(axis, len(atoms))
        assert np.abs(found @ shift).max() < 1e-8


@pytest.mark.parametrize("name", ["C6H6", "H2O2", "CH3CH2OH"])
def test_a_bent_molecule_turns_at_no_cost(name):
    atoms = shaken(name)
    found = hessian([frame(atoms)])
    for axis in np.eye(3):
        turn = np.cross(axis, atoms.positions).ravel()
        assert turn @ found @ turn < 1e-8


def test_a_line_of_atoms_is_stiff_against_both_bends():
    atoms = molecule("C2H2")
    found = hessian([frame(atoms)]).reshape(4, 3, 4, 3)
    np.testing.assert_allclose(found[2, 0, 2, 0], found[2, 1, 2, 1])
    assert found[2, 0, 2, 0] > 1.0  # eV/Å², of a hydrogen across the line


def test_the_hessian_turns_with_the_structure_and_its_numbering():
    atoms = shaken("CH3CH2OH")
    turned = atoms.copy()
    turned.rotate(70, (1, 2, 3))
    turn = np.linalg.lstsq(atoms.positions, turned.positions)[0].T
    order = np.random.default_rng(0).permutation(len(atoms))
    one = hessian([frame(atoms)]).reshape(9, 3, 9, 3)[order][:, :, order]
    other = hessian([frame(turned[order])]).reshape(9, 3, 9, 3)
    np.testing.assert_allclose(np.einsum("xa,manb,yb->mxny", turn, one, turn), other, atol=1e-8)


def test_structures_do_not_know_of_each_other():
    first, second = shaken("CH3OH"), shaken("C6H6")
    both = hessian([frame(first, fixed=[0]), frame(second)])
    np.testing.assert_array_equal(both[:18, :18], hessian([frame(first, fixed=[0])]))
    np.testing.assert_array_equal(both[18:, 18:], hessian([frame(second)]))
    assert not both[:18, 18:].any()
    assert not both[:3].any()


def test_a_larger_cell_of_the_same_crystal_is_as_stiff():
    small, large = bulk("Si", cubic=True), bulk("Si", cubic=True) * (2, 1, 1)
    field = np.zeros((8, 3))
    field[:, 1] = small.positions[:, 0]
    one = field.ravel() @ hessian([frame(small)]) @ field.ravel()
    both = np.tile(field, (2, 1)).ravel()
    assert both @ hessian([frame(large)]) @ both == pytest.approx(2 * one)


@pytest.mark.parametrize("cell", ["full", "isotropic", "shape", "xy"])
def test_strain_moves_bonds_as_a_strained_cell_does(cell):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=2)
    given = frame(atoms, cell=cell)
    gradients, stiffness = internals([given])
    count = int((stiffness > 0).sum())
    rng = np.random.default_rng(3)
    chosen = (given.strain @ rng.normal(size=9)).reshape(3, 3)
    by_rows = np.append(np.zeros(3 * len(atoms)), chosen.ravel())
    lengths = []
    for sign in (1, -1):
        strained = atoms.copy()
        deformation = np.eye(3) + sign * STEP * chosen / (STRAIN_LENGTH * np.sqrt(8))
        strained.set_cell(atoms.cell.array @ deformation.T, scale_atoms=True)
        lengths.append(find_bonds([frame(strained)]).lengths[:, 0])
    bonds = find_bonds([given])
    stretches = module._stretches(bonds).bonds[:, 0]
    expected = (lengths[0] - lengths[1])[stretches] / (2 * STEP)
    assert count > len(stretches) > 0
    np.testing.assert_allclose((gradients @ by_rows)[: len(stretches)], expected, atol=1e-7)
