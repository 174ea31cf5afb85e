"""Push pairs of held-out molecules into each other and count energies that are far too low.

Rigid approaches in random orientations, down to 0.4 of the sum of covalent radii: a hole is an
energy more than 3 eV below that of the two apart, while atoms are nearer than a bond.

    python collisions.py TEST.npz [--pairs 200] [--model organic]
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tdncalc import load_model
from tdncalc.checkpoint import DEFAULT_MODEL
from tdncalc.potential import Potential

HOLE = -3.0  # eV


def main() -> None:
    """Count holes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("test", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    potential = load_model(options.model, device="cpu")
    lowest = deepest(potential, small_molecules(options.test), options.pairs)
    holes = int((lowest < HOLE).sum())
    print(f"{holes} of {options.pairs} approaches find a hole; the deepest {lowest.min():.0f} eV")


def deepest(potential: Potential, molecules: list[Atoms], pairs: int) -> np.ndarray:
    """Return for each of some pairs the lowest energy in contact, from that apart, eV; or 0."""
    rng = np.random.default_rng(0)
    lowest = []
    for _ in range(pairs):
        one, other = (molecules[rng.integers(len(molecules))] for _ in range(2))
        structures, close = approach(one, other, rng)
        energies = [row["energy"] for row in potential.evaluate(structures, properties=["energy"])]
        gained = np.array(energies[1:]) - energies[0]
        lowest.append(gained[close].min(initial=0.0))
    return np.array(lowest)


def small_molecules(path: Path) -> list[Atoms]:
    """Return what has at most 16 atoms, centered; no pairs, where the file has SMILES strings."""
    shard = dict(np.load(path))
    names = shard.get("smi", np.full(len(shard["n"]), ""))
    starts = np.cumsum([0, *shard["n"].tolist()])
    molecules = []
    for index, (size, smiles) in enumerate(zip(shard["n"], names, strict=True)):
        if size <= 16 and "." not in str(smiles):
            part = slice(starts[index], starts[index + 1])
            atoms = Atoms(shard["z"][part].astype(int), shard["x"][part] * 1e-3)
            atoms.positions -= atoms.positions.mean(axis=0)
            molecules.append(atoms)
    return molecules


def approach(one: Atoms, other: Atoms, rng: np.random.Generator) -> tuple[list[Atoms], np.ndarray]:
    """Return the pair far apart, then nearer and nearer, and which of the latter are in contact."""
    turned = other.positions @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    radii = covalent_radii[one.numbers][:, None] + covalent_radii[other.numbers]
    structures, nearest = [], []
    for distance in [60.0, *np.arange(25, 0, -0.05)]:
        moved = turned + distance * direction
        ratio = np.linalg.norm(one.positions[:, None] - moved, axis=2) / radii
        structures.append(one + Atoms(other.numbers, moved))
        nearest.append(ratio.min())
        if nearest[-1] < 0.4:
            break
    return structures, np.array(nearest[1:]) < 1.0


if __name__ == "__main__":
    main()
