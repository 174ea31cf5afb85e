"""The coupling tensor against integrals over the sphere, rotations, inversion and 3j symbols."""

import numpy as np
import pytest
import torch
from e3nn import o3

from tdncalc.errors import OptionError
from tdncalc.nn.coupling import EXACT_RANKS, build_coupling, coupling_tensor, paper_rank

COMBINATIONS = [("O3", "gaunt"), ("O3", "equal"), ("SO3", "equal")]


def sphere_quadrature(degree):
    """Points (Q, 3) and weights (Q,) that average polynomials up to a degree over the sphere."""
    heights, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angles = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    points = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
    weights = np.repeat(weights / 2, degree + 1) / (degree + 1)
    return torch.from_numpy(points), torch.from_numpy(weights)


def harmonics(points, l_max):
    degrees = list(range(l_max + 1))
    return o3.spherical_harmonics(degrees, points, normalize=False, normalization="component")


@pytest.fixture
def _double():
    """Let e3nn build its generators of rotations in double precision: they follow the default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def transformed(tensor, l_max, parity=1):
    """Turn all three indices by one rotation, and by the inversion if the parity is -1."""
    angles = torch.tensor([0.3, 1.2, -2.1])
    blocks = [parity**degree * o3.wigner_D(degree, *angles) for degree in range(l_max + 1)]
    matrix = torch.block_diag(*blocks)
    return torch.einsum("ijk,ai,bj,ck->abc", tensor, matrix, matrix, matrix)


@pytest.mark.parametrize("l_max", [0, 1, 2, 3, 4])
def test_gaunt_tensor_is_the_integral_of_three_harmonics(l_max):
    points, weights = sphere_quadrature(3 * l_max)
    values = harmonics(points, l_max)
    integral = torch.einsum("q,qi,qj,qk->ijk", weights, values, values, values)
    torch.testing.assert_close(coupling_tensor(l_max), integral, rtol=0, atol=1e-13)


def test_gaunt_tensor_expands_the_product_of_two_harmonics():
    points, _ = sphere_quadrature(5)
    values = harmonics(points, 4)
    low = values[:, :9]  # products of degrees up to 2 have degrees up to 4
    expanded = torch.einsum("ijk,qk->qij", coupling_tensor(4)[:9, :9], values)
    torch.testing.assert_close(expanded, low[:, :, None] * low[:, None, :])


def test_gaunt_tensor_is_symmetric_in_its_three_indices():
    tensor = coupling_tensor(3)
    for order in [(1, 0, 2), (0, 2, 1), (2, 1, 0)]:
        torch.testing.assert_close(tensor, tensor.permute(order), rtol=0, atol=1e-14)


def test_coupling_with_the_scalar_is_the_identity_for_gaunt_weights():
    identity = torch.eye(16, dtype=torch.float64)
    torch.testing.assert_close(coupling_tensor(3)[:, 0], identity, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("paths", "weights", "counts"),
    [
        ("O3", "gaunt", [1, 10, 83, 353, 1158]),
        ("O3", "equal", [1, 10, 83, 353, 1158]),
        ("SO3", "equal", [1, 16, 137, 611]),
    ],
)
def test_only_the_allowed_components_couple(paths, weights, counts):
    tensors = [coupling_tensor(n, paths=paths, weights=weights) for n in range(len(counts))]
    assert [int(tensor.count_nonzero()) for tensor in tensors] == counts


@pytest.mark.parametrize("paths", ["O3", "SO3"])
def test_equal_weights_give_each_path_a_block_of_norm_one(paths):
    tensor = coupling_tensor(2, paths=paths, weights="equal")
    symbol = o3.wigner_3j(1, 2, 1, dtype=torch.float64)
    torch.testing.assert_close(tensor[1:4, 4:9, 1:4], symbol)
    n_paths = {"O3": 11, "SO3": 15}[paths]
    assert float(tensor.square().sum()) == pytest.approx(n_paths, rel=1e-13)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize(("paths", "weights"), COMBINATIONS)
def test_tensor_is_invariant_under_rotations(paths, weights):
    tensor = coupling_tensor(3, paths=paths, weights=weights)
    torch.testing.assert_close(transformed(tensor, 3), tensor, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("weights", ["gaunt", "equal"])
def test_even_paths_are_invariant_under_reflections(weights):
    tensor = coupling_tensor(3, weights=weights)
    torch.testing.assert_close(transformed(tensor, 3, parity=-1), tensor, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("_double")
def test_odd_paths_are_not_invariant_under_inversion():
    tensor = coupling_tensor(1, paths="SO3", weights="equal")
    cross_product = transformed(tensor, 1, parity=-1)[1:, 1:, 1:]
    torch.testing.assert_close(cross_product, -tensor[1:, 1:, 1:], rtol=0, atol=1e-13)


def test_tensor_is_float64_on_the_cpu_whatever_the_default_device():
    expected = coupling_tensor(2)
    with torch.device("meta"):
        tensor = coupling_tensor(2)
    assert (tensor.dtype, tensor.device.type) == (torch.float64, "cpu")
    assert torch.equal(tensor, expected)


@pytest.mark.parametrize(
    ("l_max", "paths", "weights", "message"),
    [
        (-1, "O3", "gaunt", r"l_max -1 .* 0 to 11"),
        (12, "O3", "gaunt", r"l_max 12 .* 0 to 11"),
        (1, "O2", "gaunt", r"paths 'O2' .* O3, SO3"),
        (1, "O3", "even", r"weights 'even' .* gaunt, equal"),
        (1, "SO3", "gaunt", r"zero on the odd paths .* use paths 'O3', or weights 'equal'"),
    ],
)
def test_unknown_options_are_refused(l_max, paths, weights, message):
    with pytest.raises(OptionError, match=message):
        coupling_tensor(l_max, paths=paths, weights=weights)


def test_coupling_is_built_at_the_lowest_exact_rank():
    coupling = build_coupling(1, paths="SO3", weights="equal")
    assert coupling.l_max == 1
    assert coupling.factors.a.shape == (4, EXACT_RANKS["SO3", "equal"][1])
    assert coupling.factors.residual < 1e-12


def test_coupling_takes_another_rank():
    coupling = build_coupling(1, rank=paper_rank(1))
    assert coupling.factors.c.shape == (4, 7)


def test_coupling_without_a_known_exact_rank_asks_for_one():
    with pytest.raises(OptionError, match=r"no exact rank is known for l_max 3.* such as 63"):
        build_coupling(3, paths="SO3", weights="equal")
