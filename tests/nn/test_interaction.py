import pytest
import torch

from tdncalc.nn.interaction import Edges, Interaction, LayerSizes
from tdncalc.nn.spherical import SphericalHarmonics
from tests.nn.rotations import random_rotation, wigner

CHANNELS, N_RADIAL = 4, 5
SOURCE = torch.tensor([1, 2, 0, 2, 0, 1, 3, 0])
TARGET = torch.tensor([0, 0, 1, 1, 2, 2, 0, 3])
DEGREES = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2])
ELEMENTS = torch.tensor([0, 1, 1, 0])


def make_layer(coupling, *, l_in=2, l_out=2, edge="dense", node="cp", correlation=3):
    sizes = LayerSizes(l_in, 2, l_out, 2, CHANNELS, 3, N_RADIAL, 6, correlation, 4.0)
    torch.manual_seed(21)
    return Interaction(coupling, sizes, edge, node).double()


def make_edges(coupling, directions):
    generator = torch.Generator().manual_seed(22)
    return Edges(
        source=SOURCE,
        target=TARGET,
        source_elements=ELEMENTS[SOURCE],
        target_elements=ELEMENTS[TARGET],
        lengths=torch.ones(len(SOURCE), dtype=torch.float64),
        harmonics=SphericalHarmonics(2, coupling.tensor).double()(directions),
        basis=torch.rand(len(SOURCE), N_RADIAL, generator=generator, dtype=torch.float64),
        falloff=torch.rand(len(SOURCE), generator=generator, dtype=torch.float64),
    )


def make_directions():
    generator = torch.Generator().manual_seed(23)
    random = torch.randn(len(SOURCE), 3, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(random, dim=1)


def make_features(l_in):
    generator = torch.Generator().manual_seed(24)
    return torch.randn(4, (l_in + 1) ** 2, CHANNELS, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize(("l_in", "l_out"), [(0, 2), (2, 2), (2, 0), (0, 0)])
def test_layer_turns_with_its_input(coupling, l_in, l_out, improper):
    rotation = random_rotation(25, improper=improper)
    turn, d_in, d_out = wigner(2, rotation), (l_in + 1) ** 2, (l_out + 1) ** 2
    layer, x, directions = (
        make_layer(coupling, l_in=l_in, l_out=l_out),
        make_features(l_in),
        make_directions(),
    )
    out = layer(x, ELEMENTS, make_edges(coupling, directions))
    turned = layer(turn[:d_in, :d_in] @ x, ELEMENTS, make_edges(coupling, directions @ rotation.T))
    assert out.shape == (4, d_out, CHANNELS)
    torch.testing.assert_close(turned, turn[:d_out, :d_out] @ out, rtol=1e-10, atol=1e-10)


def linear_by_hand(layer, x):
    return torch.stack(
        [row @ layer.weight[int(degree)] for degree, row in zip(DEGREES, x, strict=False)]
    )


def message_by_hand(message, tensor, x, edges):
    """The equation of Message, edge by edge."""
    radial, gathered = message.radial, torch.zeros(4, 9, 3, dtype=torch.float64)
    for edge, (source, target) in enumerate(zip(SOURCE, TARGET, strict=True)):
        shift = radial.source[ELEMENTS[source]] + radial.target[ELEMENTS[target]]
        hidden = torch.nn.functional.silu(edges.basis[edge] @ radial.basis + shift)
        weights = (edges.falloff[edge] * hidden @ radial.out).reshape(3, 3)  # (L+1, C)
        sent = linear_by_hand(message.down, x[source])
        if len(sent) == 1:
            coupled = edges.harmonics[edge][:, None] * sent
        else:
            coupled = torch.einsum("ijk,ic,j->kc", tensor, sent, edges.harmonics[edge])
            coupled = message.couple.scale * coupled
        gathered[target] += coupled * weights[DEGREES]
    return torch.stack([linear_by_hand(message.up, row / 4.0**0.5) for row in gathered])


def product_by_hand(product, tensor, gathered):
    """The equation of NodeProduct, atom by atom, up to the third power."""
    rows = []
    for x, element in zip(gathered, ELEMENTS, strict=True):
        square = product.products[0].scale * torch.einsum("ijk,ic,jc->kc", tensor, x, x)
        cube = product.products[1].scale * torch.einsum("ijk,ic,jc->kc", tensor, square, x)
        weights = product.weights[:, element][:, DEGREES]  # (ν, D, C)
        total = weights[0] * x + weights[1] * square + weights[2] * cube
        rows.append(linear_by_hand(product.linear, total))
    return torch.stack(rows)


@pytest.mark.parametrize("l_in", [0, 2])
def test_layer_is_what_its_equations_say(coupling, l_in):
    layer, x = make_layer(coupling, l_in=l_in), make_features(l_in)
    edges = make_edges(coupling, make_directions())
    gathered = message_by_hand(layer.message, coupling.tensor, x, edges)
    torch.testing.assert_close(layer.message(x, edges), gathered, rtol=1e-11, atol=1e-11)
    out = product_by_hand(layer.product, coupling.tensor, gathered)
    torch.testing.assert_close(layer.product(gathered, ELEMENTS), out, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("correlation", [1, 2, 4])
def test_evaluations_of_a_layer_agree(coupling, correlation):
    x, edges = make_features(2), make_edges(coupling, make_directions())
    outs = [
        make_layer(coupling, edge=edge, node=node, correlation=correlation)(x, ELEMENTS, edges)
        for edge, node in [("dense", "cp"), ("cp", "dense"), ("cg", "cg")]
    ]
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0], rtol=1e-10, atol=1e-10)


def test_first_layer_leaves_zero_where_no_edge_ends(coupling):
    layer = make_layer(coupling, l_in=0)
    edges = make_edges(coupling, make_directions())
    kept = edges.target != 3
    reduced = Edges(**{name: value[kept] for name, value in vars(edges).items()})
    out = layer(make_features(0), ELEMENTS, reduced)
    assert (out[3] == 0).all()
    assert (out[:3] != 0).all()


def test_an_edge_at_the_cutoff_sends_nothing(coupling):
    layer, x = make_layer(coupling), make_features(2)
    edges = make_edges(coupling, make_directions())
    edges.falloff[-1] = 0.0
    without = Edges(**{name: value[:-1] for name, value in vars(edges).items()})
    torch.testing.assert_close(
        layer(x, ELEMENTS, edges), layer(x, ELEMENTS, without), rtol=1e-14, atol=1e-14
    )
