"""A small random network and its model folder, for every test that needs a model."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tdncalc.nn.coupling import Coupling, build_coupling
from tdncalc.tdn import TDN, TDNConfig

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator
    from tdncalc.potential import Potential

# PyTorch evaluates unless a test asks for a kernel: no test depends on what is compiled already.
os.environ["TDNCALC_EVALUATION"] = "eager"
# Kernels for GPUs run without one: before anything imports Triton.
os.environ["TRITON_INTERPRET"] = "1"

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl", "Cu", "Br", "I", "Pt")


@pytest.fixture(scope="session")
def coupling() -> Coupling:
    return build_coupling(2)


@pytest.fixture(scope="session")
def make_network(coupling: Coupling) -> Callable[..., TDN]:
    """Make a small network of seeded random weights with reference energies, in float64."""

    def make(elements: tuple[str, ...] = ELEMENTS, **settings) -> TDN:
        sizes = {"channels": 8, "edge_channels": 8, "hidden": 16} | settings
        with torch.random.fork_rng():
            torch.manual_seed(7)
            network = TDN(TDNConfig(elements, **sizes), coupling).double()
            network.reference_energies.uniform_(-30.0, -10.0)
        return network.requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def make_potential(make_network: Callable[..., TDN]) -> "Callable[[torch.dtype], Potential]":
    """Make the potential of the small network."""
    from tdncalc.potential import Potential

    def make(
        dtype: torch.dtype = torch.float64, network: TDN | None = None, evaluation: str = "auto"
    ) -> Potential:
        return Potential(
            network or make_network(),
            {"name": "tiny"},
            device=torch.device("cpu"),
            dtype=dtype,
            evaluation=evaluation,
        )

    return make


@pytest.fixture(scope="session")
def potential(make_potential: "Callable[..., Potential]") -> "Potential":
    """The potential of the small network in float64."""
    return make_potential()


@pytest.fixture(scope="session")
def model_folder(
    make_network: Callable[..., TDN], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from tdncalc.checkpoint import save_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, make_network(), {"name": "tiny", "description": "random weights"})
    return folder


@pytest.fixture
def make_calculator(model_folder: Path) -> "Callable[..., TDNCalculator]":
    from tdncalc.calculator import TDNCalculator

    def make(dtype: str = "float64", **options: float) -> "TDNCalculator":
        return TDNCalculator(model_folder, device="cpu", dtype=dtype, **options)

    return make


@pytest.fixture
def calculator(make_calculator: "Callable[..., TDNCalculator]") -> "TDNCalculator":
    return make_calculator()
