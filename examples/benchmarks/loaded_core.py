"""Measure what a second thread costs a small molecule while another process keeps a core busy.

Threads that spin while they wait for one that does not run are the known trap.

    python loaded_core.py [--rounds 30] [--steps 100]
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from harness.report import machine

from tdncalc import TDNCalculator

ASPIRIN = Path(__file__).parent.parent / "aspirin.xyz"


def main() -> None:
    """Print the wall time of a step with one thread and with two, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    atoms, rng = read(ASPIRIN), np.random.default_rng(0)
    atoms.calc = TDNCalculator(evaluation="compiled")
    other = multiprocessing.Process(target=_busy, daemon=True)
    other.start()
    _seconds(atoms, 1, options.steps, rng)  # the first ones are slower
    rows = np.array(
        [
            [_seconds(atoms, threads, options.steps, rng) for threads in (1, 2)]
            for _ in range(options.rounds)
        ]
    )
    other.terminate()
    one, two = 1000 * np.median(rows, axis=0)
    ratio = statistics.median(rows[:, 1] / rows[:, 0])
    found = machine()
    print(
        f"{len(atoms)} atoms, another process busy, {found['cores']} cores of {found['processor']}"
    )
    print(f"one thread {one:.3f} ms, two {two:.3f} ms of wall time; {ratio:.2f} times as long")


def _busy() -> None:
    while True:
        pass


def _seconds(atoms: Atoms, threads: int, steps: int, rng: np.random.Generator) -> float:
    """Return the mean wall time of a step that moves all atoms."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    for _ in range(steps):
        atoms.positions += 1e-4 * rng.normal(size=atoms.positions.shape)
        atoms.get_forces()
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()
