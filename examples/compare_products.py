"""Time forces with the network's own tensor products and with e3nn's, in the same network."""

from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from tdncalc import Potential
from tdncalc.checkpoint import load_network, read_card
from tdncalc.tdn import TDN

HERE = Path(__file__).parent
REPEATS = 5


def load(*, with_e3nn: bool) -> Potential:
    """Load the bundled model, as it is or with e3nn for every one of its products."""
    network = load_network("organic")
    if with_e3nn:
        config = replace(network.config, edge_product="cg", node_product="cg")
        weights = network.state_dict()
        network = TDN(config, network.coupling)
        network.load_state_dict(weights)
    cpu = torch.device("cpu")
    return Potential(network, read_card("organic"), device=cpu, dtype=torch.float32)


def time_forces(potential: Potential, atoms: Atoms) -> tuple[NDArray[np.float64], float]:
    """Return forces (N, 3) in eV/Å and the least processor time of a few evaluations in ms."""
    graph = potential.graph(atoms)
    times = []
    for _ in range(REPEATS + 1):  # the first one warms up
        start = process_time()
        forces = potential.compute(graph, forces=True).forces.numpy()
        times.append(1000 * (process_time() - start))
    return forces, min(times[1:])


benzene = read(HERE / "benzene.cif")
structures = {
    "aspirin": read(HERE / "aspirin.xyz"),
    "benzene 2×2×1": benzene.repeat((2, 2, 1)),
    "benzene 5×2×2": benzene.repeat((5, 2, 2)),
}
ours, theirs = load(with_e3nn=False), load(with_e3nn=True)

print(f"{'structure':14} {'atoms':>6} {'tdncalc (ms)':>13} {'e3nn (ms)':>10} {'ratio':>6}")
for name, atoms in structures.items():
    forces, fast = time_forces(ours, atoms)
    reference, slow = time_forces(theirs, atoms)
    np.testing.assert_allclose(forces, reference, atol=1e-3)  # float32, eV/Å
    print(f"{name:14} {len(atoms):6d} {fast:13.1f} {slow:10.1f} {slow / fast:6.1f}")
