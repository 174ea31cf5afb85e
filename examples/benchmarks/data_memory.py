"""Memory of learning from sets that lie on disk: it does not grow with the set.

    python examples/benchmarks/data_memory.py --structures 10000 1000000

Each size is packed and learned from in a process of its own. What is printed: private memory before
the first and after the last step, and the pages of the mapped files that happen to be in memory,
which the system takes back whenever something else needs it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tdncalc.architectures import new_coupling
from tdncalc.tdn import TDN, TDNConfig
from tdncalc.training.data import GraphDataset, make_batch
from tdncalc.training.frames import Frames
from tdncalc.training.packed import open_packed, pack
from tdncalc.training.sampling import EpochSampler
from tdncalc.training.step import LossWeights, make_step

_PART = 10_000


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="of the data of one process")
    options = parser.parse_args()
    if options.folder is not None:
        learn(options.structures[0], options.steps, options.folder)
        return
    print("structures   private MB: at the start, at the end    mapped MB   on disk MB   atoms/s")
    for size in options.structures:
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["--structures", str(size), "--steps", str(options.steps)]
            subprocess.run(
                [sys.executable, __file__, *arguments, "--folder", folder], check=True, text=True
            )


def learn(size: int, steps: int, folder: Path) -> None:
    """Pack so many random molecules, take some steps, and print the memory in use."""
    torch.set_num_threads(1)
    pack(random_parts(size), folder)
    config = TDNConfig(("H", "O"), channels=16, edge_channels=16)
    network = TDN(config, new_coupling(config)).float()
    step = make_step(network, LossWeights(), compiled=False)
    parameters = [parameter.detach() for parameter in network.parameters()]
    frames = open_packed(folder)
    data = GraphDataset(frames, config.cutoff, np.zeros((1, 119)))
    loader = map(data.batch, EpochSampler(size, 16, seed=0))
    atoms, start, before = 0, time.process_time(), memory_MB("RssAnon")
    for index, batch in enumerate(loader):
        step(parameters, make_batch(batch, network, torch.device("cpu")), torch.ones(2))
        atoms += batch.num_nodes
        if index + 1 == steps:
            break
    rate = atoms / (time.process_time() - start)
    disk = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(
        f"{size:10d} {before:25.0f} {memory_MB('RssAnon'):15.0f} {memory_MB('RssFile'):15.0f} "
        f"{disk:12.0f} {rate:9.0f}"
    )


def random_parts(size: int) -> Iterator[Frames]:
    """Yield so many molecules of three atoms, a part at a time."""
    rng = np.random.default_rng(0)
    shape = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    for first in range(0, size, _PART):
        n = min(_PART, size - first)
        yield Frames(
            starts=3 * np.arange(n + 1),
            numbers=np.tile([8, 1, 1], n),
            positions=np.tile(shape, (n, 1)) + rng.normal(0, 0.05, (3 * n, 3)),
            forces=rng.normal(size=(3 * n, 3)),
            energy=rng.normal(size=n),
            cell=np.zeros((n, 3, 3)),
            pbc=np.zeros((n, 3), dtype=bool),
            stress=np.full((n, 3, 3), np.nan),
            kind=np.full(n, "all"),
            level=np.zeros(n, dtype=np.int64),
        )


def memory_MB(kind: str) -> float:  # noqa: N802 - a unit
    """Return the memory of this process of a kind that Linux counts, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1e3
    raise SystemExit("needs Linux")


if __name__ == "__main__":
    main()
