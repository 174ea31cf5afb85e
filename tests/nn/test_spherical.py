import math

import pytest
import torch
from e3nn import o3

from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.spherical import SphericalHarmonics, degree_slice, degrees


def unit_vectors(n):
    generator = torch.Generator().manual_seed(3)
    random = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    axes = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    return torch.cat([axes, torch.nn.functional.normalize(random, dim=1)])


@pytest.fixture(scope="module")
def tensor():
    return coupling_tensor(4)


@pytest.mark.parametrize("l_max", range(5))
def test_harmonics_are_those_of_e3nn(tensor, l_max):
    vectors = unit_vectors(20)
    reference = o3.spherical_harmonics(
        list(range(l_max + 1)), vectors, normalize=False, normalization="component"
    )
    harmonics = SphericalHarmonics(l_max, tensor)(vectors)
    torch.testing.assert_close(harmonics, reference, rtol=0, atol=1e-12)


def test_degree_one_is_root_three_times_the_vector(tensor):
    vectors = unit_vectors(5)
    harmonics = SphericalHarmonics(1, tensor)(vectors)
    torch.testing.assert_close(harmonics[:, 1:], math.sqrt(3) * vectors)


def test_harmonics_of_no_edges_are_empty(tensor):
    assert SphericalHarmonics(3, tensor)(torch.zeros(0, 3, dtype=torch.float64)).shape == (0, 16)


def test_harmonics_have_right_second_derivatives(tensor):
    harmonics = SphericalHarmonics(4, tensor)
    vectors = unit_vectors(1)[-2:].requires_grad_(True)

    def directions(v):
        return harmonics(torch.nn.functional.normalize(v, dim=1))

    assert torch.autograd.gradcheck(directions, vectors)
    assert torch.autograd.gradgradcheck(directions, vectors)


def test_degrees_name_the_components():
    assert degrees(2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert degrees(3)[degree_slice(3)].tolist() == [3] * 7
