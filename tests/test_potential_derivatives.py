import numpy as np
import pytest
import torch
from ase import Atoms

import tdncalc.derivatives
from tests.central_differences import STENCIL, STEP, derivatives, shifted, strained
from tests.structures import NAMES, structure

RELATIVE = 1e-7
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def force_directions(atoms):
    """Every coordinate of small structures, random directions in large ones."""
    eye = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    random = np.random.default_rng(2).normal(size=(4, len(atoms), 3))
    return eye if len(atoms) <= 3 else random / np.linalg.norm(random, axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_minus_the_derivative_of_the_energy(potential, name):
    atoms = structure(name)
    (result,) = potential.evaluate([atoms])
    directions = force_directions(atoms)
    expected = -derivatives(potential, [shifted(atoms, direction) for direction in directions])
    found = np.einsum("dnx,nx->d", directions, result["forces"])
    scale = np.abs(result["forces"]).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=RELATIVE * scale + 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_strain_gradient_is_the_derivative_by_the_strain(potential, name):
    atoms = structure(name)
    gradient = potential.compute(potential.graph(atoms), stress=True).strain_gradient[0].numpy()
    np.testing.assert_allclose(
        gradient, gradient.T, rtol=0, atol=1e-11 * (1 + np.abs(gradient).max())
    )
    expected = derivatives(potential, [strained(atoms, i, j) for i, j in VOIGT])
    found = np.array([gradient[i, j] for i, j in VOIGT])
    np.testing.assert_allclose(found, expected, rtol=0, atol=RELATIVE * np.abs(found).max() + 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_stress_is_the_strain_gradient_by_the_volume_in_voigt_order(potential, name):
    atoms = structure(name)
    (result,) = potential.evaluate([atoms])
    if atoms.cell.rank < 3:
        assert "stress" not in result
        return
    gradient = potential.compute(potential.graph(atoms), stress=True).strain_gradient[0].numpy()
    expected = [gradient[i, j] / atoms.get_volume() for i, j in VOIGT]
    np.testing.assert_allclose(result["stress"], expected, rtol=1e-9, atol=1e-12)


def test_each_shear_has_its_place(potential):
    atoms = structure("organic box")
    (result,) = potential.evaluate([atoms])
    shear = derivatives(
        potential, [strained(atoms, 1, 2), strained(atoms, 0, 2), strained(atoms, 0, 1)]
    )
    assert np.abs(np.diff(np.sort(shear))).min() > 0.01
    np.testing.assert_allclose(result["stress"][3:] * atoms.get_volume(), shear, rtol=1e-6)


def test_stress_does_not_depend_on_the_handedness_of_the_cell(potential):
    left = structure("left-handed cell")
    assert np.linalg.det(left.cell.array) < 0
    right = left.copy()
    right.set_cell(left.cell.array[[1, 0, 2]])
    one, other = potential.evaluate([left, right])
    np.testing.assert_allclose(one["stress"], other["stress"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(one["forces"], other["forces"], rtol=1e-10, atol=1e-10)


def test_compressed_crystal_has_negative_stress(potential):
    hard = Atoms("Pt", cell=np.eye(3) * 1.5, pbc=True)
    assert potential.evaluate([hard])[0]["stress"][:3].max() < -1.0


def test_stress_of_linearly_dependent_vectors_is_left_out(potential):
    flat = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], cell=[[3, 0.1, 0], [0.7, 2, 0], [3.7, 2.1, 0]])
    assert flat.cell.rank == 3
    assert "stress" not in potential.evaluate([flat])[0]


@pytest.mark.parametrize(
    "name", ["water", "dense collision", "tiny cell", "left-handed cell", "wire"]
)
def test_hessian_is_minus_the_derivative_of_the_forces(potential, name):
    atoms = structure(name)
    hessian = potential.hessian(atoms).numpy()
    assert hessian.shape == (3 * len(atoms),) * 2
    assert np.array_equal(hessian, hessian.T)
    direction = np.random.default_rng(3).normal(size=(len(atoms), 3))
    move = shifted(atoms, direction)
    expected = np.zeros(3 * len(atoms))
    for k, weight in STENCIL.items():
        ahead, behind = potential.evaluate([move(k * STEP), move(-k * STEP)])
        expected -= weight * (ahead["forces"] - behind["forces"]).ravel() / STEP
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        hessian @ direction.ravel(), expected, rtol=0, atol=1e-6 * scale + 1e-8
    )


def test_hessian_does_not_depend_on_how_many_rows_fit(potential, monkeypatch):
    graph = potential.graph(structure("water"))
    whole = potential.hessian(graph)
    monkeypatch.setattr(tdncalc.derivatives, "_HESSIAN_EDGES", 1)
    torch.testing.assert_close(potential.hessian(graph), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["single atom", "no edges"])
def test_hessian_without_edges_is_zero(potential, name):
    hessian = potential.hessian(potential.graph(structure(name)))
    assert hessian.shape == (3 * len(structure(name)),) * 2
    assert (hessian == 0).all()
