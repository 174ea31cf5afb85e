import pytest
import torch

from tdncalc.errors import OptionError
from tdncalc.nn.coupling import Coupling, build_coupling
from tdncalc.nn.tensor_product import TensorProduct
from tests.nn.rotations import random_rotation, wigner

COUPLINGS = {"O3-1": ("O3", "gaunt", 1), "O3-2": ("O3", "gaunt", 2), "O3-3": ("O3", "gaunt", 3)} | {
    "SO3-1": ("SO3", "equal", 1),
    "SO3-2": ("SO3", "equal", 2),
}
FAST = ("dense", "cp")


@pytest.fixture(scope="module", params=COUPLINGS)
def coupled(request) -> tuple[str, Coupling]:
    paths, weights, l_max = COUPLINGS[request.param]
    return paths, build_coupling(l_max, paths=paths, weights=weights)


def product(coupling, evaluation, degrees=None):
    l_in, l_edge, l_out = degrees or (coupling.l_max,) * 3
    return TensorProduct(coupling, evaluation, l_in=l_in, l_edge=l_edge, l_out=l_out).double()


def operands(l_in, l_edge, *, many, n=3, channels=2):
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(n, (l_in + 1) ** 2, channels, generator=generator, dtype=torch.float64)
    shape = (n, (l_edge + 1) ** 2, channels) if many else (n, (l_edge + 1) ** 2)
    y = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.requires_grad_(True), y.requires_grad_(True)


def value_and_derivatives(function, x, y):
    """Value, gradients, and second derivatives along random directions."""
    generator = torch.Generator().manual_seed(12)
    value = function(x, y)
    out = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    first = torch.autograd.grad((value * out).sum(), (x, y), create_graph=True)
    along = [torch.randn(g.shape, generator=generator, dtype=torch.float64) for g in first]
    directional = sum((g * a).sum() for g, a in zip(first, along, strict=True))
    second = torch.autograd.grad(directional, (x, y))
    return [value, *first, *second]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("many", [False, True], ids=["edge", "node"])
@pytest.mark.parametrize("evaluation", ["dense", "cp", "cg"])
def test_evaluations_agree_with_the_definition_to_second_derivatives(coupled, evaluation, many):
    _, coupling = coupled
    operator = product(coupling, evaluation)

    def definition(x, y):
        formula = "ijk,nic,njc->nkc" if many else "ijk,nic,nj->nkc"
        return operator.scale * torch.einsum(formula, coupling.tensor, x, y)

    x, y = operands(coupling.l_max, coupling.l_max, many=many)
    assert_same(value_and_derivatives(operator, x, y), value_and_derivatives(definition, x, y))


@pytest.mark.parametrize("degrees", [(2, 1, 2), (0, 2, 2), (2, 2, 0), (1, 2, 1)])
def test_evaluations_agree_for_unequal_degrees(coupling, degrees):
    x, y = operands(*degrees[:2], many=False)
    expected = product(coupling, "dense", degrees)(x, y)
    assert expected.shape == (3, (degrees[2] + 1) ** 2, 2)
    for evaluation in ("cp", "cg"):
        assert_same([product(coupling, evaluation, degrees)(x, y)], [expected])


@pytest.mark.parametrize("many", [False, True], ids=["edge", "node"])
@pytest.mark.parametrize("evaluation", FAST)
def test_derivatives_are_those_of_finite_differences(coupling, evaluation, many):
    operator = product(coupling, evaluation, (1, 1, 2))
    inputs = operands(1, 1, many=many, n=1)
    assert torch.autograd.gradcheck(operator, inputs)
    assert torch.autograd.gradgradcheck(operator, inputs)


@pytest.mark.parametrize("many", [False, True], ids=["edge", "node"])
@pytest.mark.parametrize("evaluation", FAST)
def test_product_turns_with_its_operands(coupled, evaluation, many):
    paths, coupling = coupled
    turn = wigner(coupling.l_max, random_rotation(13))
    mirror = wigner(coupling.l_max, random_rotation(13, improper=True))
    operator = product(coupling, evaluation)
    x, y = (operand.detach() for operand in operands(coupling.l_max, coupling.l_max, many=many))
    rotated = operator(turn @ x, turned(turn, y)) - turn @ operator(x, y)
    reflected = operator(mirror @ x, turned(mirror, y)) - mirror @ operator(x, y)
    assert float(rotated.abs().max()) < 1e-11
    assert (float(reflected.abs().max()) < 1e-11) == (paths == "O3")


def turned(turn, y):
    return turn @ y if y.dim() == 3 else y @ turn.T


def test_product_keeps_the_variance(coupling):
    x, y = operands(2, 2, many=False, n=500, channels=8)
    for evaluation in FAST:
        assert float(product(coupling, evaluation)(x, y).detach().var()) == pytest.approx(
            1.0, rel=0.1
        )


def test_product_of_no_edges_is_empty(coupling):
    x, y = torch.zeros(0, 9, 4).double(), torch.zeros(0, 9).double()
    for evaluation in FAST:
        assert product(coupling, evaluation)(x, y).shape == (0, 9, 4)


def test_product_has_no_state_of_its_own(coupling):
    for evaluation in FAST:
        assert not product(coupling, evaluation).state_dict()


def test_degree_beyond_the_coupling_is_refused(coupling):
    with pytest.raises(OptionError, match="degrees 2, 3, 2 exceed the coupling's 2"):
        product(coupling, "dense", (2, 3, 2))


def test_unknown_evaluation_is_refused(coupling):
    with pytest.raises(
        OptionError, match="evaluation 'fft' is none of dense, cp, cg, cp-approximate"
    ):
        product(coupling, "fft")


def test_approximate_product_of_the_paper_is_nearly_equivariant_under_rotations_only(coupling):
    operator = product(coupling, "cp-approximate")
    assert operator.a.shape == (28, 9)  # rank 7 L²
    x, y = (operand.detach() for operand in operands(2, 2, many=False, n=50, channels=4))
    turn = wigner(2, random_rotation(13))
    mirror = wigner(2, random_rotation(13, improper=True))
    expected = operator(x, y).norm()
    rotated = operator(turn @ x, turned(turn, y)) - turn @ operator(x, y)
    reflected = operator(mirror @ x, turned(mirror, y)) - mirror @ operator(x, y)
    assert 0.005 < float(rotated.norm() / expected) < 0.05  # the paper: 0.02
    assert float(reflected.norm() / expected) > 0.5


def test_approximate_product_is_that_of_all_paths_to_a_few_percent(coupling):
    from tdncalc.nn.coupling import coupling_tensor

    operator = product(coupling, "cp-approximate")
    tensor = coupling_tensor(2, paths="SO3", weights="equal")
    x, y = (operand.detach() for operand in operands(2, 2, many=True))
    expected = operator.scale * torch.einsum("ijk,nic,njc->nkc", tensor, x, y)
    assert 0.001 < float((operator(x, y) - expected).norm() / expected.norm()) < 0.06


def test_approximate_factors_are_part_of_the_state(coupling):
    assert set(product(coupling, "cp-approximate").state_dict()) == {"a", "b", "c"}
