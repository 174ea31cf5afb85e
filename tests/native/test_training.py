"""The kernel that training runs on, against PyTorch's double backward in float64."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from tdncalc.native.build import find_compiler
from tdncalc.native.training import TrainedNetwork, training_kernel
from tdncalc.nn.coupling import build_coupling
from tdncalc.tdn import TDN, TDNConfig

SIZES = {
    "default": {"channels": 16, "edge_channels": 16},
    "deep": {"n_layers": 3, "l_max": 1, "correlation": 2, "channels": 8, "edge_channels": 4},
    "shallow": {"n_layers": 1, "l_max": 3, "correlation": 4, "channels": 4, "edge_channels": 8},
}


def make_network(**sizes: int) -> TDN:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        sizes = {"hidden": 16, "n_radial": 5, **sizes}
        config = TDNConfig(("H", "C", "O"), cutoff=4.0, **sizes)
        network = TDN(config, build_coupling(sizes.get("l_max", 2))).float()
    network.repulsion.measured(
        network.repulsion.shortest * 0.8
    )  # as it is after training: within bonding distance
    return network


@pytest.fixture(
    scope="module",
    params=[
        "default",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("deep", "shallow")),
    ],
)
def trained(request: pytest.FixtureRequest) -> TrainedNetwork:
    if find_compiler() is None:
        pytest.fail("there is no C++ compiler: install one, or the package ziglang")
    network = make_network(**SIZES[request.param])
    kernel = training_kernel(network)
    assert kernel is not None
    return kernel


def clusters(sizes: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return elements, edges and vectors of clusters, some with an atom too far from the others."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    edges, vectors, start = [], [], 0
    for size in sizes:
        chosen = torch.randperm(len(grid), generator=generator)[:size]
        places = 1.6 * grid[chosen] + 0.3 * torch.rand(size, 3, generator=generator)
        places[0] += 100.0 * (size > 3)
        apart = places[:, None] - places[None, :]
        near = (apart.norm(dim=2) < 4.0) & ~torch.eye(size, dtype=torch.bool)
        target, source = near.nonzero().T
        edges.append(torch.stack([source, target]) + start)
        vectors.append(places[source] - places[target])
        start += size
    elements = torch.randint(0, 3, (start,), generator=generator)
    return elements, torch.cat(edges, dim=1), torch.cat(vectors)


def by_kernel(trained: TrainedNetwork, batch: tuple[Tensor, ...], seed: int = 1) -> list[Tensor]:
    """Return energies, their derivatives, and those of a mixture of both by the parameters."""
    energies, gradient = trained(*batch)
    loss = mixture(energies, gradient, seed)
    return [energies, gradient, *torch.autograd.grad(loss, list(trained.network.parameters()))]


def by_torch(network: TDN, batch: tuple[Tensor, ...], seed: int = 1) -> list[Tensor]:
    vectors = batch[2].to(network.embedding, copy=True).requires_grad_(True)
    energies = network(*batch[:2], vectors)
    (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    loss = mixture(energies, gradient, seed)
    return [energies, gradient, *torch.autograd.grad(loss, list(network.parameters()))]


def mixture(energies: Tensor, gradient: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(x.shape, generator=generator).to(x) for x in (energies, gradient)]
    return (energies * weights[0]).sum() + (gradient * weights[1]).sum()


def assert_as_exact_as_torch(trained: TrainedNetwork, batch: tuple[Tensor, ...]) -> None:
    found, rounded = by_kernel(trained, batch), by_torch(trained.network, batch)
    exact = by_torch(deepcopy(trained.network).double(), batch)
    for one, other, true in zip(found, rounded, exact, strict=True):
        assert (one - true).norm() <= 2 * (other - true).norm() + 1e-5 * true.norm() + 1e-9


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


@pytest.mark.parametrize("sizes", [[23], [3, 1, 2], [40, 41, 13, 30]], ids=str)
def test_energies_and_both_derivatives_are_those_of_the_network(trained, sizes: list[int]) -> None:
    assert_as_exact_as_torch(trained, clusters(sizes))


def test_atoms_without_edges_have_no_energy_and_no_gradient(trained) -> None:
    batch = torch.tensor([0, 1, 2]), torch.empty(2, 0, dtype=torch.int64), torch.empty(0, 3)
    energies, gradient, *by_parameters = by_kernel(trained, batch)
    assert not energies.any()
    assert gradient.shape == (0, 3)
    assert not any(x.any() for x in by_parameters)


def test_edges_in_any_order_give_the_same(trained) -> None:
    elements, edges, vectors = clusters([20, 60, 50, 40])
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(2))
    plain = by_kernel(trained, (elements, edges, vectors))
    shuffled = by_kernel(trained, (elements, edges[:, order], vectors[order]))
    assert_close([shuffled[0]], [plain[0]])
    assert_close([shuffled[1]], [plain[1][order]])


def test_a_batch_can_be_differentiated_after_another_was_computed(trained) -> None:
    batch = clusters([9, 8])
    expected = by_kernel(trained, batch)
    energies, gradient = trained(*batch)
    trained(*clusters([5], seed=3))
    loss = mixture(energies, gradient, 1)
    found = torch.autograd.grad(loss, list(trained.network.parameters()))
    for one, other in zip(found, expected[2:], strict=True):
        assert torch.equal(one, other)


def test_several_threads_agree_with_one(trained) -> None:
    batch = clusters([40, 45, 50, 41, 47])
    one = by_kernel(trained, batch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = by_kernel(trained, batch)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one[0], several[0])
    assert torch.equal(one[1], several[1])
    assert_close(several, one)


def test_an_edge_shorter_than_any_seen_only_repels(trained) -> None:
    batch = torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]]), torch.eye(2, 3) * 0.3
    assert_as_exact_as_torch(trained, batch)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"channels": 6}, "channels"),
        ({"edge_product": "cp-approximate"}, "exact products only"),
        ({"hidden": 6}, "hidden is 6, but must be a multiple of 4"),
    ],
    ids=["channels", "inexact", "hidden"],
)
def test_a_network_that_it_does_not_know_has_no_kernel_and_is_told_why(
    sizes, reason, caplog
) -> None:
    assert training_kernel(make_network(**sizes)) is None
    (line,) = caplog.messages
    assert line.startswith("PyTorch trains, several times slower than the compiled kernel: ")
    assert reason in line


def test_it_computes_in_float32_only(caplog) -> None:
    assert training_kernel(make_network().double()) is None
    assert not caplog.messages
