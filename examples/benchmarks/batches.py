"""Molecules per second: many molecules together, or one at a time, with energies and forces.

The molecules are test molecules of the bundled model if the environment variable TDNCALC_DATA names
the folder with gfn2/test.npz, else closed-shell molecules of ASE's G2 set, each shaken.

    TDNCALC_DATA=<folder of the data> python batches.py [--molecules 1000] [--threads 1]
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from harness.report import machine

from tdncalc import Potential, load_model


def data_molecules(path: Path, count: int) -> list[Atoms]:
    """Return drug-like molecules of a data file, as far as there are so many."""
    with np.load(path) as data:
        ends = np.cumsum(data["n"])
        drugs = [i for i, kind in enumerate(data["kind"]) if str(kind).startswith("drug")]
        numbers, positions = data["z"], data["x"] / 1000.0  # Å
    picked = [drugs[i] for i in np.linspace(0, len(drugs) - 1, min(count, len(drugs))).astype(int)]
    starts = np.concatenate([[0], ends[:-1]])
    return [Atoms(numbers[starts[i] : ends[i]], positions[starts[i] : ends[i]]) for i in picked]


def g2_molecules(known: tuple[str, ...]) -> list[Atoms]:
    """Return the closed-shell molecules of the G2 set."""
    found = [molecule(name) for name in g2.names]
    return [
        atoms
        for atoms in found
        if set(atoms.symbols) <= set(known)
        and len(atoms) > 1
        and not atoms.get_initial_magnetic_moments().any()
    ]


def make_molecules(count: int, known: tuple[str, ...]) -> tuple[str, list[Atoms]]:
    """Return so many molecules, each different, and where they come from."""
    path = Path(os.environ.get("TDNCALC_DATA", "/none")) / "gfn2" / "test.npz"
    source = "GFN2 test set, drug-like" if path.exists() else "G2"
    base = data_molecules(path, count) if path.exists() else g2_molecules(known)
    chosen = [atoms.copy() for atoms in itertools.islice(itertools.cycle(base), count)]
    for index, atoms in enumerate(chosen[len(base) :] if path.exists() else chosen):
        atoms.rattle(0.03, seed=index)
    return source, chosen


def rate(potential: Potential, parts: list[list[Atoms]], *, cpu: bool) -> float:
    """Return molecules per second of processor or wall time, of lists evaluated in turn."""
    clock = time.process_time if cpu else time.perf_counter
    start = clock()
    for part in parts:
        potential.evaluate(part, properties=("energy", "forces"))
    return sum(map(len, parts)) / (clock() - start)


def measure(evaluation: str, molecules: list[Atoms], repeats: int, *, cpu: bool) -> dict:
    """Return the rates together and one at a time, medians of repeats in turn."""
    potential = load_model("organic", evaluation=evaluation)
    potential.evaluate(molecules[:20])
    together, single = [molecules], [[atoms] for atoms in molecules]
    rates = [
        [rate(potential, parts, cpu=cpu) for parts in (together, single)] for _ in range(repeats)
    ]
    joint, alone = (statistics.median(column) for column in zip(*rates, strict=True))
    return {"together": joint, "one at a time": alone}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--molecules", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--evaluations", nargs="+", default=["compiled", "eager"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cpu = args.threads == 1
    source, molecules = make_molecules(args.molecules, load_model("organic").elements)
    size = statistics.fmean(map(len, molecules))
    rates = {name: measure(name, molecules, args.repeats, cpu=cpu) for name in args.evaluations}
    unit = "processor time" if cpu else "wall time"
    print(f"{machine()['processor']}, {args.threads} thread(s), molecules per second of {unit}")
    print(f"{len(molecules)} molecules ({source}), {size:.1f} atoms on average\n")
    print("| evaluation | together | one at a time |\n| --- | ---: | ---: |")
    for name, found in rates.items():
        print(f"| {name} | {found['together']:.0f} | {found['one at a time']:.0f} |")
    if args.out:
        report = {"machine": machine(), "source": source, "atoms": size, "rates": rates}
        args.out.write_text(json.dumps(report | {"threads": args.threads}))


if __name__ == "__main__":
    main()
