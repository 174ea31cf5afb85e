"""The published network with this package's tensor product and with e3nn's, samples per second.

A batch of 128 small molecules on one CPU thread. The network has the published form (direct forces,
or forces as a gradient) but 2 blocks and 32 channels, not 6 and 256, which is what one core can do
in a minute; weights are random. ``dense`` and ``e3nn`` evaluate the same exact tensor and agree to
rounding; ``cp`` has the rank 7 L² of the paper (its factors are random here: speed does not depend
on them). The last column is the paper's figure for its own network against Equiformer on an A100
(arXiv:2507.01131): another machine, size and reference, put beside for orientation only.

    python published_speed.py [--channels 32] [--layers 2] [--molecules 128] [--repeats 5]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import e3nn
import numpy as np
import torch
from ase.build import molecule

from tdncalc.geometry.graph import AtomicGraph, batch_graphs, edge_vectors, make_graph
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.nn.coupling import Coupling, CPFactors, coupling_tensor, paper_rank
from tdncalc.published.config import PublishedConfig
from tdncalc.published.network import PublishedTDN

PAPER = {1: 770.8 / 311.7, 2: 312.4 / 71.9, 3: 220.4 / 26.1}
PRODUCTS = {"dense": "exact-dense", "cp": "cp", "e3nn": "cg"}
NAMES = ("CH3CH2OH", "C6H6", "CH3CONH2", "HCOOCH3", "C2H6NH", "CH3COOH", "C4H4O", "C5H5N")


def make_batch(size: int) -> AtomicGraph:
    """Return the graph of so many molecules, each shaken in its own way."""
    graphs = []
    for index in range(size):
        atoms = molecule(NAMES[index % len(NAMES)])
        atoms.rattle(0.05, seed=index)
        edges = neighbor_list(atoms.positions, np.zeros((3, 3)), atoms.pbc, 4.5)
        graphs.append(
            make_graph(atoms.numbers, atoms.positions, np.zeros((3, 3)), atoms.pbc, *edges)
        )
    return batch_graphs(graphs)


def make_networks(l_max: int, channels: int, layers: int) -> dict[str, PublishedTDN]:
    """Return the same network with each product."""
    torch.manual_seed(0)
    tensor = coupling_tensor(l_max, paths="SO3", weights="equal")
    shape = ((l_max + 1) ** 2, paper_rank(l_max))
    a, b, c = (torch.randn(shape, dtype=torch.float64) / shape[1] ** 0.5 for _ in range(3))
    coupling = Coupling(tensor, CPFactors(a, b, c, residual=1.0))
    networks = {}
    for name, product in PRODUCTS.items():
        config = PublishedConfig(
            ("H", "C", "N", "O"),
            n_layers=layers,
            l_max=l_max,
            channels=channels,
            n_radial=128,
            product=product,
        )
        networks[name] = PublishedTDN(config, coupling).float().eval()
        networks[name].load_state_dict(networks["dense"].state_dict())
    return networks


def direct(network: PublishedTDN, graph: AtomicGraph, vectors: torch.Tensor) -> torch.Tensor:
    """Return energies and direct forces: forward only."""
    with torch.no_grad():
        energies, forces = network.energies_and_forces(graph.numbers, graph.edge_index, vectors)
    return torch.cat([energies[:, None], forces], dim=1)


def gradient(network: PublishedTDN, graph: AtomicGraph, vectors: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the energy by the edge vectors: forward and backward."""
    vectors = vectors.clone().requires_grad_(True)
    energy = network(graph.numbers, graph.edge_index, vectors).sum()
    return torch.autograd.grad(energy, vectors)[0]


def seconds(run: Callable[[], torch.Tensor]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    for name, default in (("channels", 32), ("layers", 2), ("molecules", 128), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    graph = make_batch(options.molecules)
    vectors = edge_vectors(graph).float()
    print(
        f"torch {torch.__version__}, e3nn {e3nn.__version__}, {platform.machine()}, one thread; "
        f"{options.molecules} molecules, {len(graph.numbers)} atoms, {len(vectors)} edges, "
        f"{options.layers} blocks, {options.channels} channels; samples/s\n"
    )
    print("| L | forces | dense | cp, 7 L² | e3nn | dense / e3nn | cp / e3nn | paper, A100 |")
    print("| --- " * 8 + "|")
    for l_max, paper in PAPER.items():
        networks = make_networks(l_max, options.channels, options.layers)
        for kind in (direct, gradient):
            exact = kind(networks["dense"], graph, vectors)
            assert torch.allclose(exact, kind(networks["e3nn"], graph, vectors), atol=1e-3)
            times: dict[str, list[float]] = {name: [] for name in networks}
            for _ in range(options.repeats):  # in turns, so that all see the same machine
                for name, network in networks.items():
                    times[name].append(seconds(lambda n=network, k=kind: k(n, graph, vectors)))
            rate = {n: options.molecules / statistics.median(t) for n, t in times.items()}
            print(
                f"| {l_max} | {kind.__name__} | "
                + " | ".join(f"{rate[name]:.0f}" for name in PRODUCTS)
                + f" | {rate['dense'] / rate['e3nn']:.1f} | {rate['cp'] / rate['e3nn']:.1f} "
                f"| {paper:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
