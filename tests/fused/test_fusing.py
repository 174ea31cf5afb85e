from dataclasses import replace

import pytest
import torch

from tdncalc.fused.fusing import fuse
from tdncalc.nn.coupling import Coupling, build_coupling
from tdncalc.tdn import TDN, TDNConfig

CONFIG = TDNConfig(("H", "O"), cutoff=4.0, l_max=1, channels=8, edge_channels=8, hidden=8)


@pytest.fixture(scope="module")
def coupling() -> Coupling:
    return build_coupling(1)


def gradients(network: TDN) -> list[torch.Tensor]:
    """Return energies, forces, and the gradients of a loss of both by the parameters."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 4], [1, 0, 2, 1, 0, 2, 4, 3]])
    vectors = torch.randn(8, 3, generator=generator).add(1).to(network.embedding.dtype)
    vectors.requires_grad_(True)
    energies = network(torch.tensor([0, 1, 0, 1, 1, 0]), edges, vectors)
    (forces,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    loss = energies.square().sum() + forces.square().sum()
    return [energies, forces, *torch.autograd.grad(loss, list(network.parameters()))]


def test_a_fused_network_learns_as_the_plain_one_does(coupling: Coupling) -> None:
    torch.manual_seed(0)
    network = TDN(CONFIG, coupling).float()
    fused = fuse(network)
    assert fused is not network
    exact = gradients(network.double())
    for one, other in zip(gradients(fused), exact, strict=True):
        assert (one - other).norm() <= 5e-5 * other.norm() + 1e-9


def test_a_network_without_a_kernel_stays_as_it_is(coupling: Coupling) -> None:
    odd = TDN(replace(CONFIG, edge_channels=6), coupling)
    assert fuse(odd) is odd
    approximate = TDN(replace(CONFIG, edge_product="cp-approximate"), coupling)
    assert fuse(approximate) is approximate
