"""Compute clusters as liquid water holds them, with GFN2-xTB, for ``dft_data.py --pool``.

Dynamics of 64 molecules with a model, cold and hot, dense and loose; out of its frames a molecule
and its nearest neighbors, one to six of them. Needs ``pip install tblite rdkit``::

    python examples/training/water_clusters.py --output water-clusters.npz --seed 1

An hour of one core for 3,000, nearly all of it the dynamics.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.geometry import get_distances
from ase.md.langevin import Langevin
from gfn2_data import label, write

from tdncalc import TDNCalculator

SIDE = 4  # molecules along an edge of the box
VOLUME = 29.9  # Å³ of a molecule in the liquid
TEMPERATURES = (280, 330, 400, 500)  # K
SWELLINGS = (0.95, 1.0, 1.1)  # of the volume
SETTLING, BETWEEN = 2000, 50  # steps of 0.5 fs
FRAMES, OF_EACH = 40, 6


def main() -> None:
    """Compute them and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--structures", type=int, default=3000)
    parser.add_argument("--model", default="organic", help="what moves the molecules")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    calculator = TDNCalculator(model=options.model)
    rows: list[tuple] = []
    while len(rows) < options.structures:
        for frame in liquid(rng, calculator):
            for _ in range(OF_EACH):
                atoms = cluster(frame, rng)
                name = ".".join("O" * (len(atoms) // 3)) + f" {len(rows)}"  # SMILES, with a title
                if row := label(atoms.numbers, atoms.positions, name):
                    rows.append((*row, "water"))
        write(options.output, rows)  # after each dynamics: nothing is lost


def liquid(rng: np.random.Generator, calculator: TDNCalculator) -> Iterator[Atoms]:
    """Yield frames of the dynamics of a box of molecules, each of them OHH."""
    edge = (rng.choice(SWELLINGS) * VOLUME) ** (1 / 3)
    box = packed(edge * np.array(list(np.ndindex(SIDE, SIDE, SIDE))), SIDE * edge, rng)
    box.calc = calculator
    dynamics = heated(box, rng.choice(TEMPERATURES), rng)
    dynamics.run(SETTLING)
    for _ in range(FRAMES):
        dynamics.run(BETWEEN)
        yield box


def packed(places: np.ndarray, edge: float, rng: np.random.Generator) -> Atoms:
    """Return a cubic box with a molecule at each of some places (M, 3) in Å, turned at random."""
    box = Atoms(cell=[edge] * 3, pbc=True)
    for place in places:
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0, 360, 3), center="COM")
        one.translate(place)
        box += one
    return box


def heated(box: Atoms, temperature: float, rng: np.random.Generator) -> Langevin:
    """Return dynamics of a box at a temperature in K."""
    step, friction = 0.5 * units.fs, 0.02 / units.fs
    return Langevin(box, step, temperature_K=temperature, friction=friction, rng=rng, fixcm=False)


def cluster(frame: Atoms, rng: np.random.Generator) -> Atoms:
    """Return a molecule and those nearest to it, each of them whole."""
    oxygens = frame.positions[::3]
    center = rng.integers(len(oxygens))
    vectors, distances = get_distances(
        oxygens[center], oxygens, cell=frame.cell, pbc=True
    )  # (1, M, 3), (1, M)
    chosen = np.argsort(distances[0])[: rng.integers(2, 8)]
    atoms = Atoms()
    for one in chosen:
        arms = frame.get_distances(3 * one, [3 * one + 1, 3 * one + 2], mic=True, vector=True)
        atoms += Atoms("OHH", vectors[0, one] + np.vstack([np.zeros(3), arms]))
    return atoms


if __name__ == "__main__":
    main()
