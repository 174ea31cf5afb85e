"""CP factors: exact at the known ranks, reproducible, and without a trace in torch's state."""

import pytest
import torch

from tdncalc.errors import OptionError
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.decomposition import cp_factors


def relative_error(tensor, factors):
    rebuilt = torch.einsum("ir,jr,kr->ijk", factors.a, factors.b, factors.c)
    return float((tensor - rebuilt).norm() / tensor.norm())


@pytest.mark.parametrize(
    ("l_max", "paths", "weights", "rank"),
    [
        (0, "O3", "gaunt", 1),
        (1, "O3", "gaunt", 6),
        (2, "O3", "gaunt", 18),
        (3, "O3", "gaunt", 32),
        (1, "O3", "equal", 6),
        (2, "O3", "equal", 19),
        (1, "SO3", "equal", 8),
        (2, "SO3", "equal", 31),
        (2, "SO3", "equal", 36),
    ],
)
def test_factors_are_exact(l_max, paths, weights, rank):
    tensor = coupling_tensor(l_max, paths=paths, weights=weights)
    factors = cp_factors(tensor, rank)
    assert factors.a.shape == factors.b.shape == factors.c.shape == (len(tensor), rank)
    assert factors.residual < 1e-12
    assert relative_error(tensor, factors) < 1e-12


@pytest.mark.physics
@pytest.mark.parametrize(("l_max", "weights", "rank"), [(4, "gaunt", 60), (3, "equal", 56)])
def test_factors_of_high_degrees_are_exact(l_max, weights, rank):
    tensor = coupling_tensor(l_max, weights=weights)
    assert relative_error(tensor, cp_factors(tensor, rank)) < 1e-12


def test_quick_factors_are_no_better_than_thorough_ones():
    tensor = coupling_tensor(1, paths="SO3", weights="equal")
    quick, thorough = (cp_factors(tensor, 7, thorough=choice) for choice in (False, True))
    assert 0.01 < thorough.residual <= quick.residual < 0.03
    assert relative_error(tensor, quick) == pytest.approx(quick.residual, rel=1e-9)


def test_factors_are_exact_from_another_seed():
    assert cp_factors(coupling_tensor(2), 18, seed=1).residual < 1e-12


def test_rank_of_the_paper_gives_the_best_found():
    tensor = coupling_tensor(1, paths="SO3", weights="equal")
    factors = cp_factors(tensor, 7)
    assert 0.01 < factors.residual < 0.018  # other minima stand at 0.18
    assert relative_error(tensor, factors) == pytest.approx(factors.residual, rel=1e-9)


def test_factors_stay_small_where_growing_ones_would_fit_better():
    tensor = coupling_tensor(1)
    factors = cp_factors(tensor, 5)  # terms of size 500 that cancel reach a residual of 3e-3
    terms = factors.a.norm(dim=0) * factors.b.norm(dim=0) * factors.c.norm(dim=0)
    assert float(terms.norm() / tensor.norm()) < 10
    assert factors.residual < 0.34


def test_more_terms_than_needed_stay_exact():
    tensor = coupling_tensor(1)
    assert relative_error(tensor, cp_factors(tensor, 20)) < 1e-12


def test_tensor_may_have_three_different_sizes():
    tensor = coupling_tensor(2)[:4, :9, :1]
    assert relative_error(tensor, cp_factors(tensor, 4)) < 1e-12


def test_terms_are_shared_equally_by_the_factors():
    factors = cp_factors(coupling_tensor(1), 6)
    torch.testing.assert_close(factors.a.norm(dim=0), factors.b.norm(dim=0))
    torch.testing.assert_close(factors.a.norm(dim=0), factors.c.norm(dim=0))


def test_same_seed_gives_the_same_factors():
    tensor = coupling_tensor(3)
    first, second, other = (cp_factors(tensor, 32, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.a, second.a)
    assert torch.equal(first.c, second.c)
    assert not torch.equal(first.a, other.a)


def test_global_state_of_torch_is_left_alone():
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    cp_factors(coupling_tensor(1).float(), 6)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_factors_are_float64_and_carry_no_gradient():
    tensor = coupling_tensor(1).float().requires_grad_()
    factors = cp_factors(tensor, 6)
    assert factors.a.dtype == torch.float64
    assert not factors.a.requires_grad


@pytest.mark.parametrize(
    ("tensor", "rank", "message"),
    [
        (torch.ones(3, 3, 3), 0, r"rank 0 .* 1 or more"),
        (torch.ones(3, 3), 2, r"shape \(3, 3\) must be 3-way"),
        (torch.zeros(3, 3, 3), 2, "not zero"),
        (torch.full((3, 3, 3), torch.nan), 2, "finite"),
    ],
)
def test_tensors_and_ranks_without_factors_are_refused(tensor, rank, message):
    with pytest.raises(OptionError, match=message):
        cp_factors(tensor, rank)
