"""Train a network of another package for so many seconds of one CPU thread, and measure its errors.

Data, loss and schedule are those of `organic.yaml` in examples/training: the energy's error per
atom and the length of the force's error count linearly, and the energy's weight grows while the
rate falls. The optimizer is Adam with amsgrad, at the usual rate of the package. Runs in its
environment:

    python train_peer.py mace --data FOLDER [--seconds 600] [--batch 5]
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness.trainable import NETWORKS, Contender, Molecules
from numpy.typing import NDArray
from torch import Tensor

DECAY, AVERAGE = 0.8, 0.99
ENERGY_WEIGHTS = (3.0, 40.0)


@dataclass(frozen=True)
class Labeled:
    """Molecules one after the other: atoms' arrays, where each molecule starts, energies in eV."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    forces: NDArray[np.float64]
    starts: NDArray[np.int64]
    energies: NDArray[np.float64]

    def composition(self) -> NDArray[np.float64]:
        """Return how many atoms of each element each molecule has, (S, 119)."""
        counts = np.zeros((len(self.energies), 119))
        owner = np.repeat(np.arange(len(self.energies)), np.diff(self.starts))
        np.add.at(counts, (owner, self.numbers), 1.0)
        return counts


def read(paths: list[Path]) -> Labeled:
    """Read packed shards."""
    parts = [dict(np.load(path)) for path in paths]
    sizes = np.concatenate([part["n"] for part in parts])
    return Labeled(
        np.concatenate([part["z"] for part in parts]).astype(np.int64),
        np.concatenate([part["x"] for part in parts]) / 1000.0,
        np.concatenate([part["f"] for part in parts]) / 1000.0,
        np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
        np.concatenate([part["e"] for part in parts]),
    )


def joined(data: Labeled, chosen: NDArray[np.int64], cutoff: float) -> tuple[Molecules, Tensor]:
    """Return molecules as one batch, and the forces on its atoms."""
    rows = [np.arange(data.starts[i], data.starts[i + 1]) for i in chosen]
    edges, first = [], 0
    for atoms in rows:
        x = data.positions[atoms]
        near = np.linalg.norm(x[:, None] - x[None], axis=2) < cutoff
        np.fill_diagonal(near, val=False)
        edges.append(np.argwhere(near).T + first)
        first += len(atoms)
    every = np.concatenate(rows)
    owner = np.repeat(np.arange(len(rows)), [len(atoms) for atoms in rows])
    molecules = Molecules(
        torch.tensor(data.numbers[every]),
        torch.tensor(data.positions[every], dtype=torch.float32),
        torch.tensor(owner),
        torch.tensor(np.concatenate(edges, axis=1)),
    )
    return molecules, torch.tensor(data.forces[every], dtype=torch.float32)


def epochs(n: int, batch: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of all structures in random order, again and again."""
    rng = np.random.default_rng(3)
    while True:
        order = rng.permutation(n)
        yield from (order[i : i + batch] for i in range(0, n - batch + 1, batch))


def train(
    contender: Contender, data: Labeled, energies: NDArray[np.float64], seconds: float, batch: int
) -> int:
    """Train until so many seconds are over, leave the averaged weights, and return the steps."""
    weights = list(contender.network.train().parameters())
    optimizer = torch.optim.Adam(weights, lr=contender.learning_rate, amsgrad=True)
    average = [p.detach().clone() for p in weights]
    molecules, _ = joined(data, np.arange(batch), contender.cutoff)
    contender.predict(molecules)[1].sum().backward()  # what a package compiles does not count
    began, done = time.process_time(), 0.0
    for step, chosen in enumerate(epochs(len(energies), batch)):
        done = (time.process_time() - began) / seconds
        if done >= 1:
            break
        fall = max(0.0, (done - 1 + DECAY) / DECAY)
        rate = contender.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * fall)) / 2)
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 100)
        low, high = ENERGY_WEIGHTS
        weight = low ** (1 - fall) * high**fall
        molecules, forces = joined(data, chosen, contender.cutoff)
        found, found_forces = contender.predict(molecules)
        sizes = torch.tensor(np.diff(data.starts)[chosen])
        error = (found - torch.tensor(energies[chosen], dtype=torch.float32)) / sizes
        lengths = ((found_forces - forces).square().sum(1) + 1e-12).sqrt()
        loss = weight * _huber(error.abs()).mean() + _huber(lengths).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()
        memory = min(AVERAGE, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in weights], 1 - memory)
        if step % 50 == 0:
            print(f"{100 * done:.0f} %, step {step}: {1000 * lengths.mean():.0f} meV/Å", flush=True)
    with torch.no_grad():
        torch._foreach_copy_(weights, average)
    return step


def errors(
    contender: Contender, data: Labeled, energies: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the mean absolute errors in meV/atom and, of force components, meV/Å."""
    network = contender.network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    of_energies, of_forces = [], []
    for start in range(0, len(energies), 10):
        chosen = np.arange(start, min(start + 10, len(energies)))
        molecules, forces = joined(data, chosen, contender.cutoff)
        found, found_forces = contender.predict(molecules)
        sizes = np.diff(data.starts)[chosen]
        of_energies += list(np.abs(found.detach().numpy() - energies[chosen]) / sizes)
        of_forces.append((found_forces - forces).abs().detach().numpy())
    return 1000 * float(np.mean(of_energies)), 1000 * float(np.concatenate(of_forces).mean())


def _huber(values: Tensor, delta: float = 0.01) -> Tensor:
    return torch.where(values < delta, values.square() / (2 * delta), values - delta / 2)


def main() -> None:
    """Train one, and print what came of it as a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", type=Path, required=True, help="with gfn2/train-*.npz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--batch", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = options.data / "gfn2"
    data, held_out = read(sorted(folder.glob("train-*.npz"))), read([folder / "valid.npz"])
    references, *_ = np.linalg.lstsq(data.composition(), data.energies, rcond=None)
    contender = NETWORKS[options.network]()
    learned = data.energies - data.composition() @ references
    steps = train(contender, data, learned, options.seconds, options.batch)
    wanted = held_out.energies - held_out.composition() @ references
    energy, force = errors(contender, held_out, wanted)
    result = {
        "network": options.network,
        "parameters": sum(p.numel() for p in contender.network.parameters()),
        "seconds": options.seconds,
        "steps": steps,
        "batch": options.batch,
        "energy_MAE_meV_per_atom": energy,
        "forces_MAE_meV_per_A": force,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
