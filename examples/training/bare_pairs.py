"""Compute pairs of atoms that are alone, from where a training set begins, with GFN2-xTB.

Molecules in a training set hold atoms that are near to each other and have other neighbors. What
two atoms feel that have none, a network extrapolates: it may find pockets near the shortest
distance. Here each pair of elements of a model is computed from its shortest distance up. Needs
``pip install tblite``; a few seconds on one core::

    python examples/training/bare_pairs.py --output bare-pairs.extxyz

Pairs with an odd number of electrons have one unpaired, all others none.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.io import write
from gfn2_data import gfn2

from tdncalc import load_model

FARTHEST = 1.4  # shortest distances


def main() -> None:
    """Compute all pairs of elements and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="an extended XYZ file")
    parser.add_argument("--model", default="organic", help="whose shortest distances are taken")
    parser.add_argument("--distances", type=int, default=16, help="of each pair of elements")
    options = parser.parse_args()
    potential = load_model(options.model, device="cpu")
    shortest = potential.network.repulsion.shortest.numpy()
    rows = []
    for i, j in itertools.combinations_with_replacement(range(len(shortest)), 2):
        symbols = [potential.elements[i], potential.elements[j]]
        for distance in shortest[i, j] * np.linspace(1.001, FARTHEST, options.distances):
            rows.append(computed(symbols, float(distance)))
    found = [atoms for atoms in rows if atoms is not None]
    write(options.output, found)
    print(f"{len(found)} of {len(rows)} pairs; the others do not converge")


def computed(symbols: list[str], distance: float) -> Atoms | None:
    """Return two atoms at a distance in Å with energy and forces; None if it does not converge."""
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, distance]], info={"kind": "bare-pair"})
    unpaired = sum(atomic_numbers[symbol] for symbol in symbols) % 2
    found = gfn2(atoms.numbers, atoms.positions, unpaired=unpaired)
    if found is None:
        return None
    energy, forces = found
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


if __name__ == "__main__":
    main()
