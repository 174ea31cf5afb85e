"""Products with the inverse of the model Hessian."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from tdncalc.workflows import model_hessian
from tdncalc.workflows.bonds import Frame
from tdncalc.workflows.cell_modes import free_strain
from tdncalc.workflows.internals import internals
from tdncalc.workflows.model_hessian import SOFTEST, inverse_hessians


def frame(atoms, cell="fixed"):
    fixed = np.arange(len(atoms)) == 1
    strain = free_strain(cell, len(atoms))
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, fixed, strain)


@pytest.fixture(params=["fixed", "full", "isotropic"])
def frames(request):
    if request.param == "fixed":
        return [frame(molecule(name)) for name in ("CH3OH", "C6H6", "C2H2")]
    crystals = [bulk("Si", cubic=True), bulk("Cu") * (2, 2, 1)]
    for atoms in crystals:
        atoms.rattle(0.1, seed=1)
    return [frame(atoms, request.param) for atoms in crystals]


@pytest.mark.parametrize("most_rows", [250, 10, 0])
def test_it_solves_what_the_hessian_multiplies(frames, most_rows, monkeypatch):
    monkeypatch.setattr(model_hessian, "_MOST_ROWS", most_rows)
    rng = np.random.default_rng(0)
    for one, solve in zip(frames, inverse_hessians(frames), strict=True):
        gradients, stiffness = internals([one])
        wanted = rng.normal(size=(one.n_rows, 3))
        by_model = gradients.T @ (stiffness * (gradients @ wanted.ravel()))
        product = by_model.reshape(-1, 3) + SOFTEST * wanted
        # Conjugate gradients stop at a residual of 1e-6, which soft directions magnify.
        np.testing.assert_allclose(solve(product), wanted, atol=1e-3)


@pytest.mark.parametrize("size", [121, 128, 250])
def test_a_large_matrix_is_factorized_in_panels(size):
    matrix = np.random.default_rng(0).normal(size=(size, size))
    matrix = matrix @ matrix.T + size * np.eye(size)
    factor = model_hessian._by_panels(matrix.copy())
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(matrix), atol=1e-12)


def test_fixed_atoms_and_strains_that_do_not_move_get_no_step(frames):
    for one, solve in zip(frames, inverse_hessians(frames), strict=True):
        gradient = np.random.default_rng(0).normal(size=(one.n_rows, 3))
        gradient[1] = 0.0
        if one.strain is not None:
            gradient[-3:] = (one.strain @ gradient[-3:].ravel()).reshape(3, 3)
        step = solve(gradient)
        assert not step[1].any()
        if one.strain is not None:
            free = one.strain / np.abs(np.linalg.eigvalsh(one.strain)).max()
            np.testing.assert_allclose(free @ step[-3:].ravel(), step[-3:].ravel(), atol=1e-10)
