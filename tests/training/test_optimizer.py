import pytest
import torch

from tdncalc.tdn import TDN
from tdncalc.training.optimizer import make_optimizer

MIXING = ("weight", "basis", "inner", "scalars", "gates", "out")


@pytest.mark.parametrize("method", ["muon", "adam"])
def test_weight_decay_shrinks_matrices_of_channels_and_nothing_else(
    network: TDN, method: str
) -> None:
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = make_optimizer([network], method, weight_decay=0.5)
    optimizer.step(0.01)
    for name, parameter in network.named_parameters():
        factor = 0.995 if name.rpartition(".")[2] in MIXING else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_without_weight_decay_nothing_moves_without_gradients(network: TDN) -> None:
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer([network], "muon").step(0.01)
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
