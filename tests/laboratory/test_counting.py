"""Paths and parameters, against counts that were published or made by hand."""

import pytest
import torch

from tdncalc.laboratory.catalogue import CATALOGUE
from tdncalc.laboratory.counting import expressivity, interactions, output_irreps
from tdncalc.laboratory.paths import all_paths

ENTRIES = {entry.name: entry for entry in CATALOGUE}


def build(name, l_max):
    return ENTRIES[name].build(l_max, 1)


@pytest.mark.parametrize(("l_max", "cg", "gaunt"), [(2, 14, 5), (4, 55, 9), (7, 204, 15)])
def test_outputs_are_counted_as_in_the_price_of_freedom(l_max, cg, gaunt):
    assert output_irreps(l_max, gaunt=False) == cg
    assert output_irreps(l_max, gaunt=True) == gaunt


@pytest.mark.parametrize(("l_max", "all_of_them", "even"), [(1, 5, 4), (2, 15, 11), (3, 34, 23)])
def test_interactions_are_all_paths_or_the_even_ones(l_max, all_of_them, even):
    assert len(interactions(build("cg-sparse", l_max))) == all_of_them
    assert interactions(build("equal-dense", l_max)) == all_paths(l_max)
    assert len(interactions(build("gaunt-grid", l_max))) == even
    assert interactions(build("matrix-symmetric", l_max)) == all_paths(l_max, even=True)


def test_cross_product_is_missing_only_where_reflections_are_a_symmetry():
    for name in ("cg-dense", "equal-dense", "matrix"):
        assert (1, 1, 1) in interactions(build(name, 2))
    for name in ("gaunt-fourier", "matrix-symmetric"):
        assert (1, 1, 1) not in interactions(build(name, 2))


def test_path_weights_add_a_parameter_each():
    assert [expressivity(build("cg-dense", l_max)) for l_max in (1, 2, 3)] == [5, 15, 34]


@pytest.mark.parametrize("name", ["gaunt-grid", "gaunt-e3nn", "equal-dense", "matrix"])
def test_shared_products_have_three_weights_per_degree(name):
    assert [expressivity(build(name, l_max)) for l_max in (1, 2, 3)] == [4, 7, 10]


def test_expressivity_is_the_rank_of_the_derivative_by_the_weights():
    paths = interactions(build("gaunt-grid", 3))
    weights = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1

    def coefficients(w):
        return torch.stack([w[0, l1] * w[1, l2] * w[2, l3] for l1, l2, l3 in paths])

    jacobian = torch.autograd.functional.jacobian(coefficients, weights).flatten(1)
    assert int(torch.linalg.matrix_rank(jacobian)) == expressivity(build("gaunt-grid", 3))
