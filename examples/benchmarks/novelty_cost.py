"""Measure what a model's novelty adds to a step of dynamics, in processor time at one thread.

Two calculators, one of them without the novelty, take the same steps in turns; the ratio of each
pair of turns is taken, so that other work on the machine falls out.

    python novelty_cost.py [--model organic] [--rounds 200]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from harness.systems import make_system

from tdncalc import Potential, TDNCalculator
from tdncalc.checkpoint import load_network, read_card

SYSTEMS = {"aspirin": 20, "water-box": 3}  # steps of a turn


def without_novelty(model: str) -> TDNCalculator:
    """Return a calculator of the same model that measures no novelty."""
    calculator = TDNCalculator(model, device="cpu", evaluation="compiled")
    calculator.potential = Potential(
        load_network(model),
        read_card(model),
        device=torch.device("cpu"),
        dtype=torch.float32,
        evaluation="compiled",
    )
    return calculator


def stepper(atoms: Atoms, calculator: TDNCalculator, steps: int) -> Callable[[], float]:
    """Return what takes some steps and says how many seconds of processor time they took."""
    atoms = atoms.copy()
    atoms.calc = calculator
    move = np.random.default_rng(0).normal(scale=1e-3, size=atoms.positions.shape)

    def take() -> float:
        began = time.process_time()
        for index in range(steps):
            atoms.positions += move * (-1) ** index
            atoms.get_forces()
        return time.process_time() - began

    return take


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="organic")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, steps in SYSTEMS.items():
        atoms = make_system(name)
        plain = stepper(atoms, without_novelty(options.model), steps)
        full = stepper(atoms, TDNCalculator(options.model, "cpu", evaluation="compiled"), steps)
        plain(), full()
        pairs = np.array([(plain(), full()) for _ in range(options.rounds)])
        more = 100 * (pairs[:, 1] / pairs[:, 0] - 1)
        error = 1.25 * more.std() / len(more) ** 0.5  # of a median
        fastest = 1e6 * pairs.min(axis=0) / steps
        print(
            f"{name}, {len(atoms)} atoms: {np.median(more):+.1f} ± {error:.1f} % of a step; ",
            end="",
        )
        print(f"fastest {fastest[0]:.0f} µs without, {fastest[1]:.0f} µs with")


if __name__ == "__main__":
    main()
