"""Energy and forces of the bundled model, compiled, with its own product and with e3nn's.

The same weights and structures, one thread; the evaluations take turns. Prints the median process
CPU time of a step (positions moving, neighbor list included) as a Markdown table.

    python product_speed.py [--repeats 15]
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import ase
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

from tdncalc import TDNCalculator

EVALUATIONS = {
    "compiled": {"evaluation": "compiled"},
    "PyTorch": {"evaluation": "eager"},
    "PyTorch, all cp": {"product": "cp"},
    "PyTorch, e3nn": {"product": "cg"},
}


def structures() -> dict[str, Atoms]:
    """Return aspirin, a periodic box of 64 water molecules, and 1000 atoms of silicon."""
    aspirin = read(Path(__file__).parents[1] / "aspirin.xyz")
    rng = np.random.default_rng(0)
    water = Atoms(cell=[12.42] * 3, pbc=True)
    for place in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.translate((np.array(place) + 0.5) * 12.42 / 4)
        water += one
    silicon = bulk("Si", cubic=True) * (5, 5, 5)
    return {"aspirin": aspirin, "water box": water, "silicon": silicon}


def step_time(calculator: TDNCalculator, atoms: Atoms, seed: int) -> float:
    """Return the CPU time in ms of forces after every atom moved a little."""
    atoms.rattle(0.005, seed=seed)
    start = time.process_time()
    calculator.calculate(atoms, ["energy", "forces"])
    return 1000 * (time.process_time() - start)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    calculators = {
        name: TDNCalculator(device="cpu", **options) for name, options in EVALUATIONS.items()
    }
    print(f"torch {torch.__version__}, ASE {ase.__version__}, {platform.machine()}, one thread\n")
    print(
        "| structure | atoms | edges | "
        + " | ".join(f"{n}, ms" for n in EVALUATIONS)
        + " | e3nn / compiled | e3nn / PyTorch |"
    )
    print("| --- " * (len(EVALUATIONS) + 5) + "|")
    for label, atoms in structures().items():
        times: dict[str, list[float]] = {name: [] for name in calculators}
        forces = {}
        for repeat in range(repeats + 2):
            for name, calculator in calculators.items():
                moved = atoms.copy()
                elapsed = step_time(calculator, moved, repeat)
                if repeat > 1:
                    times[name].append(elapsed)
                forces[name] = calculator.results["forces"]
        spread = max(np.abs(f - forces["compiled"]).max() for f in forces.values())
        assert spread < 1e-3, spread
        medians = {name: statistics.median(values) for name, values in times.items()}
        edges = calculators["compiled"].neighbors.update(
            atoms.positions, atoms.cell.array, atoms.pbc
        )
        row = " | ".join(f"{medians[name]:.2f}" for name in EVALUATIONS)
        e3nn = medians["PyTorch, e3nn"]
        ratios = " | ".join(f"{e3nn / medians[name]:.1f}" for name in ("compiled", "PyTorch"))
        print(f"| {label} | {len(atoms)} | {edges[0].shape[1]} | {row} | {ratios} |")


if __name__ == "__main__":
    main()
