"""Kernels of three networks that differ in every size that the generated code depends on."""

from typing import NamedTuple

import pytest
import torch

from tdncalc.native.build import find_compiler
from tdncalc.nn.coupling import build_coupling
from tdncalc.potential import Potential
from tdncalc.tdn import TDN, TDNConfig
from tests.conftest import ELEMENTS

SIZES = {
    "default": {"channels": 16, "edge_channels": 16},
    "deep": {"n_layers": 3, "l_max": 1, "correlation": 2, "channels": 8, "edge_channels": 4},
    "shallow": {"n_layers": 1, "l_max": 3, "correlation": 4, "channels": 4, "edge_channels": 8},
}


class Trio(NamedTuple):
    exact: Potential
    eager: Potential
    kernel: Potential


@pytest.fixture(scope="session", params=SIZES)
def trio(request):
    """A network's potential by PyTorch in float64 and float32, and by its kernel."""
    if find_compiler() is None:
        pytest.fail("there is no C++ compiler: install one, or the package ziglang")
    sizes = {"hidden": 16} | SIZES[request.param]

    def network():
        with torch.random.fork_rng():
            torch.manual_seed(5)
            made = TDN(TDNConfig(ELEMENTS, **sizes), build_coupling(sizes.get("l_max", 2)))
        made.reference_energies.uniform_(-30.0, -10.0, generator=torch.Generator().manual_seed(1))
        made.repulsion.measured(
            made.repulsion.shortest * 0.8
        )  # as it is after training: within bonding distance
        return made.requires_grad_(False)

    def potential(dtype, evaluation):
        card = {"name": request.param}
        cpu = torch.device("cpu")
        return Potential(network(), card, device=cpu, dtype=dtype, evaluation=evaluation)

    return Trio(
        potential(torch.float64, "eager"),
        potential(torch.float32, "eager"),
        potential(torch.float32, "compiled"),
    )
