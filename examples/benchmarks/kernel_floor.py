"""How near the compiled kernel is to what the processor can do: operations counted, time measured.

Counted is what the kernel's algorithm must do for energy and forces: multiplications and additions,
without square roots, exponentials and the geometry of edges. Attainable is what one thread reaches
in a product of large matrices. Bytes are those of arrays that a step must read or write once;
attainable is the copy of a large array.

    python examples/benchmarks/kernel_floor.py
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from tdncalc.checkpoint import load_model
from tdncalc.tdn import TDN


def main() -> None:
    """Print a row for each structure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="organic")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    potential = load_model(options.model, device="cpu", evaluation="compiled")
    flops, bandwidth = _attainable_flops(), _attainable_bandwidth()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    print(f"attainable: {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s")
    print("structure     atoms   edges   MFLOP      MB     ms   GFLOP/s  of attainable")
    for name, atoms in _structures().items():
        graph = potential.graph(atoms)
        n_edges = graph.edge_index.shape[1]
        operations = _operations(potential.network, len(atoms), n_edges)
        moved = _bytes(potential.network, len(atoms), n_edges)
        seconds = _median(lambda graph=graph: potential.compute(graph), options.repeats)
        rate = operations / seconds
        print(
            f"{name:12s} {len(atoms):6d} {n_edges:7d} {operations / 1e6:7.1f} {moved / 1e6:7.2f} "
            f"{1e3 * seconds:6.2f} {rate / 1e9:9.1f}  {rate / flops:6.0%}"
        )


def _structures() -> dict[str, Atoms]:
    silicon = bulk("Si", cubic=True) * (5, 5, 5)
    silicon.rattle(0.02, seed=1)
    rng, water = np.random.default_rng(0), Atoms(cell=[12.4] * 3, pbc=True)
    for place in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0, 360, size=3))
        one.translate(3.1 * np.array(place))
        water += one
    return {"C60": molecule("C60"), "water": water, "silicon": silicon}


def _operations(network: TDN, n_atoms: int, n_edges: int) -> float:
    """Count floating-point operations of energy and forces, a fused multiply-add as two."""
    config = network.config
    degrees, size = config.l_max + 1, (config.l_max + 1) ** 2
    tensor = network.coupling.tensor.abs() > 1e-12
    terms, pairs, entries = int(tensor.sum()), int(tensor.any(1).sum()), int(tensor.any(1).sum())
    first = 5 * degrees + size + 10 * degrees + 2 * size + degrees
    later = (entries + 5 * degrees + size) + (2 * entries + 10 * degrees + 3 * size + pairs + terms)
    edge = config.edge_channels * (first + (config.n_layers - 1) * later)
    atom = sum(_atom_operations(network, layer, terms) for layer in range(config.n_layers))
    return 2.0 * (n_edges * edge + n_atoms * atom)


def _atom_operations(network: TDN, layer: int, terms: int) -> float:
    config = network.config
    c, size = config.channels, (config.l_max + 1) ** 2
    last = layer == config.n_layers - 1
    degrees, d_out = (1, 1) if last else (config.l_max + 1, size)
    matrices = size * config.edge_channels * c + d_out * c * c + 2 * c * c * (1 + degrees) + c * c
    if not last:
        matrices += size * c * config.edge_channels
    products = (config.correlation - 1) * terms * c
    return 2 * matrices + 4 * products


def _bytes(network: TDN, n_atoms: int, n_edges: int) -> float:
    """Count bytes read or written once: edges, messages of neighbors, features between passes."""
    config = network.config
    size = (config.l_max + 1) ** 2
    message = 4 * size * config.edge_channels
    kept = message + 4 * config.channels * (size + config.l_max + 4)
    per_edge = 2 * 20 + (config.n_layers - 1) * 2 * message
    return n_edges * per_edge + 2 * n_atoms * (kept + 2 * message) * (config.n_layers - 1)


def _attainable_flops() -> float:
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / _median(lambda: a @ b, 10)


def _attainable_bandwidth() -> float:
    a, b = torch.zeros(2**25), torch.zeros(2**25)
    return 2 * 4 * 2**25 / _median(lambda: b.copy_(a), 10)


def _median(run: Callable[[], object], repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
