import pytest
import torch

from tdncalc.nn.equivariant import EquivariantLinear, GatedUpdate, scaled_normal
from tests.nn.rotations import random_rotation, wigner

L_MAX = 3


@pytest.fixture
def layers():
    torch.manual_seed(1)
    return EquivariantLinear(L_MAX, 4, 4).double(), GatedUpdate(L_MAX, 4, 6).double()


def features():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(5, 16, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("index", [0, 1])
def test_layer_commutes_with_rotations_and_reflections(layers, index, improper):
    layer, x = layers[index], features()
    turn = wigner(L_MAX, random_rotation(4, improper=improper))
    torch.testing.assert_close(turn @ layer(x), layer(turn @ x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("index", [0, 1])
def test_layer_keeps_zero(layers, index):
    assert (layers[index](torch.zeros(2, 16, 4, dtype=torch.float64)) == 0).all()


def test_linear_mixes_channels_within_a_degree_only(layers):
    x = torch.zeros(1, 16, 4, dtype=torch.float64)
    x[0, 5, 1] = 1.0  # degree 2
    out = layers[0](x)
    torch.testing.assert_close(out[0, 5], layers[0].weight[2, 1].detach())
    assert int((out != 0).sum()) == 4


def test_update_without_higher_degrees_has_no_gates():
    update = GatedUpdate(0, 4, 6)
    assert {name for name, _ in update.named_parameters()} == {"inner", "scalars"}
    assert update(torch.ones(3, 1, 4)).shape == (3, 1, 4)


def test_scaled_normal_keeps_the_variance():
    torch.manual_seed(5)
    out = torch.randn(2000, 300) @ scaled_normal(300, 50)
    assert float(out.var()) == pytest.approx(1.0, rel=0.05)
