"""Do held-out drug-like molecules keep their bonds? NVT at 300 K from relaxed structures.

A molecule keeps them if no bond is ever longer than 1.5 times the sum of its covalent radii, and if
the last structure, relaxed, has the bonds of the first.

    python md_drugs.py TEST.npz [--model organic] [--picoseconds 50] [--timestep 0.5]

Two processes share the work with `--molecules 10` and `--molecules 10 --skip 10`.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from harness.molecules import bonds, drugs
from harness.trajectories import run

from tdncalc import MDSettings, TDNCalculator, relax


def longest(frames: list[Atoms], pairs: set[tuple[int, int]]) -> float:
    """Return the largest length of a bond over the sum of its covalent radii."""
    i, j = np.array(sorted(pairs)).T
    radii = covalent_radii[frames[0].numbers]
    positions = np.array([frame.positions for frame in frames])
    lengths = np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
    return float((lengths / (radii[i] + radii[j])).max())


def main() -> None:
    """Run all, and print a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shard", type=Path)
    parser.add_argument("--model", default="organic")
    parser.add_argument("--molecules", type=int, default=20)
    parser.add_argument("--skip", type=int, default=0, help="so many molecules before them")
    parser.add_argument("--picoseconds", type=float, default=50.0)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    options = parser.parse_args()
    calculator = TDNCalculator(options.model)
    settings = MDSettings(
        round(1000 * options.picoseconds / options.timestep),
        timestep_fs=options.timestep,
        interval=round(50 / options.timestep),
        seed=1,
    )
    kept = []
    for atoms in drugs(options.shard)[options.skip :][: options.molecules]:
        start = relax(atoms, calculator=calculator).atoms
        result, frames = run(start, calculator, settings)
        stretch = longest(frames, bonds(start))
        end = relax(result.atoms, calculator=calculator).atoms
        kept.append(result.reason == "done" and stretch < 1.5 and bonds(end) == bonds(start))
        print(
            f"{atoms.get_chemical_formula():18} {result.reason}, {result.temperature_K:.0f} K, "
            f"longest bond {stretch:.2f} of its radii, bonds {'kept' if kept[-1] else 'CHANGED'}",
            flush=True,
        )
    print(f"{sum(kept)} of {len(kept)} molecules keep their bonds for {options.picoseconds:g} ps")


if __name__ == "__main__":
    main()
