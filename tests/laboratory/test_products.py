"""Every product against its definition, to second derivatives, and under rotations."""

import pytest
import torch

from tdncalc.laboratory.catalogue import CATALOGUE, MAPS
from tdncalc.laboratory.product import reference
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.spherical import SphericalHarmonics
from tests.nn.rotations import random_rotation, wigner

ENTRIES = {entry.name: entry for entry in CATALOGUE}
EXACT = [name for name, entry in ENTRIES.items() if entry.exact]
NODE = [name for name in EXACT if not name.endswith("so2")]
REFLECTING = ("gaunt", "matrix-even")
CHANNELS = 2


def build(name, l_max):
    return ENTRIES[name].build(l_max, CHANNELS).double()


def operands(l_max, *, many, n=3):
    """Random x, and random y or harmonics of random directions."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, (l_max + 1) ** 2, CHANNELS, generator=generator, dtype=torch.float64)
    if many:
        return x, torch.randn(x.shape, generator=generator, dtype=torch.float64)
    directions = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return x, harmonics(l_max, directions)


def harmonics(l_max, vectors):
    return SphericalHarmonics(l_max, coupling_tensor(l_max))(
        torch.nn.functional.normalize(vectors, dim=-1)
    )


def assert_close(found, expected):
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-12 * scale)


@pytest.mark.parametrize("l_max", [1, 2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_product_with_harmonics_is_that_of_the_definition(name, l_max):
    product = build(name, l_max)
    x, y = operands(l_max, many=False)
    assert_close(product(x, y), reference(product.definition, x, y))


@pytest.mark.parametrize("l_max", [1, 2, 3])
@pytest.mark.parametrize("name", NODE)
def test_product_of_features_is_that_of_the_definition(name, l_max):
    product = build(name, l_max)
    x, y = operands(l_max, many=True)
    assert_close(product(x, y), reference(product.definition, x, y))


@pytest.mark.parametrize("map_name", MAPS)
def test_products_of_a_map_share_its_definition_up_to_a_constant(map_name):
    names = [name for name in EXACT if ENTRIES[name].map_name == map_name]
    definitions = [build(name, 2).definition for name in names]
    first, *others = [d if d.dim() == 3 else d[..., 0] for d in definitions]
    for other in others:
        assert_close(other / other.norm(), first / first.norm())


@pytest.mark.parametrize("many", [False, True], ids=["harmonics", "features"])
@pytest.mark.parametrize("name", ENTRIES)
def test_derivatives_are_those_of_finite_differences(name, many):
    if many and name.endswith("so2"):
        pytest.skip("takes harmonics only")
    product = build(name, 1)
    inputs = [operand.requires_grad_(True) for operand in operands(1, many=many, n=1)]
    assert torch.autograd.gradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(product, inputs)


@pytest.mark.parametrize("name", ["cg-so2", "gaunt-so2"])
def test_derivatives_by_the_direction_are_those_of_the_definition(name):
    product = build(name, 2)
    x, _ = operands(2, many=False)
    directions = torch.randn(3, 3, generator=torch.Generator().manual_seed(6)).double()

    def derivatives(function):
        vectors = directions.clone().requires_grad_(True)
        value = function(x, harmonics(2, vectors)).square().sum()
        (first,) = torch.autograd.grad(value, vectors, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), vectors)
        return first, second

    expected = derivatives(lambda x, y: reference(product.definition, x, y))
    for found, value in zip(derivatives(product), expected, strict=True):
        assert_close(found, value)


@pytest.mark.parametrize("name", ["cg-so2", "gaunt-so2"])
def test_frame_of_an_edge_along_the_axis_is_no_exception(name):
    product = build(name, 2)
    axis = torch.tensor([[0.0, 1, 0], [0, -1, 0], [1, 0, 0]], dtype=torch.float64)
    x, y = operands(2, many=False)[0], harmonics(2, axis).requires_grad_(True)
    assert_close(product(x, y), reference(product.definition, x, y))
    (gradient,) = torch.autograd.grad(product(x, y).sum(), y)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", ["cg-e3nn", "cg-dense", "cg-sparse", "cg-so2"])
def test_weights_of_paths_have_the_gradient_of_the_definition(name):
    product, expected = build(name, 2), build("cg-sparse", 2)
    x, y = operands(2, many=False)
    for one in (product, expected):
        one(x, y).square().sum().backward()
    assert_close(product.weights.grad, expected.weights.grad)


@pytest.mark.parametrize("name", EXACT)
def test_product_turns_with_its_operands(name):
    product = build(name, 2)
    x, y = operands(2, many=False)
    before = product(x, y)
    for improper in (False, True):
        turn = wigner(2, random_rotation(7, improper=improper))
        error = float((product(turn @ x, y @ turn.T) - turn @ before).detach().abs().max())
        symmetric = not improper or ENTRIES[name].map_name in REFLECTING
        assert (error < 1e-11) == symmetric


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if not entry.exact])
def test_product_that_is_not_exact_is_marked_so(name):
    product = build(name, 2)
    x, y = operands(2, many=False)
    expected = reference(product.definition, x, y)
    assert float((product(x, y) - expected).norm() / expected.norm()) > 1e-3


def test_so2_reads_only_the_direction_of_its_harmonics():
    product = build("gaunt-so2", 2)
    x, y = operands(2, many=False)
    altered = y.clone()
    altered[:, 4:] = 0.0
    torch.testing.assert_close(product(x, altered), product(x, y))


@pytest.mark.parametrize("many", [False, True], ids=["harmonics", "features"])
@pytest.mark.parametrize(
    "name", ["gaunt-dense", "gaunt-cp", "gaunt-tucker-full", "equal-cp-full", "matrix"]
)
def test_work_of_matrix_products_is_what_torch_counts(name, many):
    from torch.utils.flop_counter import FlopCounterMode

    product = build(name, 2)
    x, y = operands(2, many=many, n=1)
    with FlopCounterMode(display=False) as counter:
        product(x, y)
    pointwise = {"gaunt-cp": 18 * CHANNELS, "equal-cp-full": 31 * CHANNELS} | (
        {"gaunt-dense": 81 * CHANNELS, "gaunt-tucker-full": 81 * CHANNELS} if many else {}
    )
    counted = product.flops(CHANNELS, many=many) - pointwise.get(name, 0)
    assert counted == counter.get_total_flops()
