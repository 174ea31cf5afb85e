"""Exact factors of high degrees from sets of vectors that a group permutes."""

import pytest
import torch

from tdncalc.errors import OptionError
from tdncalc.nn.coupling import EXACT_RANKS, build_coupling, coupling_tensor, paper_rank
from tdncalc.nn.symmetric_decomposition import symmetric_factors


def rebuilt(factors):
    return torch.einsum("ir,jr,kr->ijk", factors.a, factors.b, factors.c)


@pytest.mark.parametrize(("l_max", "rank"), [(4, 60), (5, 84), (6, 123)])
def test_coupling_of_high_degree_is_exact(l_max, rank):
    coupling = build_coupling(l_max)
    assert EXACT_RANKS["O3", "gaunt"][l_max] == coupling.factors.a.shape[1] == rank
    assert rank < paper_rank(l_max)
    assert coupling.factors.residual < 1e-12
    error = (rebuilt(coupling.factors) - coupling.tensor).norm() / coupling.tensor.norm()
    assert float(error) < 1e-12


def test_three_factors_are_one():
    factors = build_coupling(4).factors
    assert torch.equal(factors.a, factors.b)
    assert torch.equal(factors.a, factors.c)


def test_small_sets_have_as_many_terms_as_they_say():
    factors = symmetric_factors(coupling_tensor(2), "pentagon", (10, 2, 1))
    assert factors.a.shape == (9, 13)
    error = (rebuilt(factors) - coupling_tensor(2)).norm() / coupling_tensor(2).norm()
    assert float(error) == pytest.approx(factors.residual, rel=1e-9)
    assert 0.01 < factors.residual < 0.5  # 13 terms are too few


def test_same_seed_gives_the_same_factors_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, other = (symmetric_factors(coupling_tensor(3), "tetrahedron", (12,) * 3) for _ in range(2))
    torch.testing.assert_close(one.a, other.a, rtol=0, atol=1e-8)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_size_of_a_set_is_refused():
    with pytest.raises(
        OptionError, match=r"sets of 7 are not known.*'pentagon'; allowed: 10, 2, 1"
    ):
        symmetric_factors(coupling_tensor(2), "pentagon", (10, 7))
