"""Held-out drug-like molecules, and their bonds."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tdncalc.training.data import load_frames

__all__ = ["bonds", "drugs"]


def bonds(atoms: Atoms) -> set[tuple[int, int]]:
    """Return the pairs of atoms nearer than 1.25 times the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < 1.25 * (radii[:, None] + radii[None, :])
    return {(int(i), int(j)) for i, j in np.argwhere(near) if i < j}


def drugs(shard: Path) -> list[Atoms]:
    """Return one thermal structure each of the drug-like molecules of a shard, 300 K first."""
    frames, smiles = load_frames([shard.name], shard.parent), np.load(shard)["smi"]
    chosen: dict[str, int] = {}
    for kind in ("drug-md300", "drug-md500", "drug-md100", "drug-md800"):
        for index in np.flatnonzero(frames.kind == kind):
            chosen.setdefault(str(smiles[index]), int(index))
    return [frames.atoms(index) for index in chosen.values()]
