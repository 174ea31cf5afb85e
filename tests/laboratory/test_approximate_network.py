"""The default network with the paper's approximate product: usable, kept, and less symmetric."""

import pytest
import torch

from tdncalc.checkpoint import load_model, save_model
from tdncalc.nn.coupling import build_coupling
from tdncalc.tdn import TDN, TDNConfig
from tests.nn.rotations import random_rotation
from tests.structures import structure


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = TDNConfig(
            ("H", "C", "N", "O", "F", "Cl", "Br"),
            channels=8,
            edge_channels=8,
            hidden=16,
            edge_product="cp-approximate",
            node_product="cp-approximate",
        )
        return TDN(config, build_coupling(2)).double().requires_grad_(False)


def energies(network, rotation):
    vectors = torch.tensor([[1.1, 0.2, 0.3], [-0.4, 1.2, 0.1], [0.3, -0.5, 1.4]]).double()
    vectors = torch.cat([vectors, -vectors]) @ rotation.T
    edges = torch.tensor([[1, 2, 3, 0, 0, 0], [0, 0, 0, 1, 2, 3]])
    return network(torch.tensor([1, 0, 3, 4]), edges, vectors)


def test_energy_depends_on_the_orientation(network):
    one = energies(network, torch.eye(3).double())
    turned = energies(network, random_rotation(1))
    error = float((turned - one).norm() / one.norm())
    assert 1e-4 < error < 0.2


def test_checkpoint_keeps_the_factors(network, tmp_path):
    buffers = dict(network.named_buffers())
    name = next(name for name in buffers if name.endswith(".a"))
    buffers[name].mul_(1.001)  # as another machine may have computed them
    save_model(tmp_path / "model", network, {"name": "approximate"})
    chiral = structure("chiral molecule")
    again = load_model(tmp_path / "model", device="cpu", dtype="float64")
    assert torch.equal(dict(again.network.named_buffers())[name], buffers[name])
    assert torch.isfinite(torch.tensor(again.evaluate([chiral])[0]["energy"]))
