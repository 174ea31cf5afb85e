"""Throughput of a training step, eager and compiled, for the network of the bundled model.

Batches of 16 random clusters; one thread; the two take turns. The kernel is compiled once.

    python training_step.py [--repeats 20]
"""

import argparse
import platform
import statistics
import time

import numpy as np
import torch

from tdncalc.checkpoint import load_network
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.tdn import TDN
from tdncalc.training.step import Batch, LossWeights, make_step


def random_batch(network: TDN, seed: int, structures: int = 16) -> Batch:
    """Return a batch of clusters of 10 to 36 atoms at the density of a molecule."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 37, structures)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    edges, vectors = [], []
    for size, start in zip(sizes, starts, strict=True):
        grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
        order = np.argsort(np.linalg.norm(grid - 1.5, axis=1), kind="stable")
        positions = 1.9 * grid[order[:size]] + rng.normal(0, 0.15, (size, 3))
        pairs, _ = neighbor_list(
            positions, np.zeros((3, 3)), np.zeros(3, bool), network.config.cutoff
        )
        edges.append(pairs + start)
        vectors.append(positions[pairs[0]] - positions[pairs[1]])
    n_atoms = int(sizes.sum())
    floats = {
        "vectors": np.concatenate(vectors),
        "n_atoms": sizes,
        "energy": rng.normal(size=structures),
        "forces": rng.normal(size=(n_atoms, 3)),
        "strain_gradient": np.zeros((structures, 3, 3)),
        "has_stress": np.zeros(structures),
    }
    return Batch(
        elements=torch.from_numpy(rng.integers(0, len(network.config.elements), n_atoms)),
        edge_index=torch.from_numpy(np.concatenate(edges, axis=1)),
        structure=torch.from_numpy(np.repeat(np.arange(structures), sizes)),
        level=torch.zeros(structures, dtype=torch.int64),
        **{name: torch.from_numpy(value).float() for name, value in floats.items()},
    )


def main() -> None:
    """Measure and print atoms per second of process CPU time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    network = load_network("organic").float()
    parameters = [parameter.detach() for parameter in network.parameters()]
    batches = [random_batch(network, seed) for seed in range(8)]
    balance = torch.ones(2)
    rates: dict[str, list[float]] = {"eager": [], "compiled": []}
    steps = {}
    for name in rates:
        start = time.perf_counter()
        steps[name] = make_step(network, LossWeights(), compiled=name == "compiled")
        steps[name](parameters, batches[0], balance)
        print(f"{name}: first step {time.perf_counter() - start:.1f} s")
    for repeat in range(repeats):
        batch = batches[repeat % len(batches)]
        for name, step in steps.items():
            start = time.process_time()
            step(parameters, batch, balance)
            rates[name].append(len(batch.elements) / (time.process_time() - start))
    eager, compiled = (statistics.median(rates[name]) for name in ("eager", "compiled"))
    edges = np.mean([b.edge_index.shape[1] / len(b.elements) for b in batches])
    print(
        f"torch {torch.__version__}, {platform.machine()}, one thread, {edges:.0f} edges per atom"
    )
    print(f"eager {eager:.0f}, compiled {compiled:.0f} atoms/s: {compiled / eager:.1f} times")


if __name__ == "__main__":
    main()
