"""Held-out molecules of the data of ``organic``, and their bonds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tdncalc.training.data import load_frames

__all__ = ["HeldOut", "bonds", "drugs", "held_out"]


@dataclass(frozen=True)
class HeldOut:
    """A thermal structure of a molecule, its SMILES and its family (drug, pep, qm9, rare)."""

    family: str
    smiles: str
    atoms: Atoms


def bonds(atoms: Atoms) -> set[tuple[int, int]]:
    """Return the pairs of atoms nearer than 1.25 times the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < 1.25 * (radii[:, None] + radii[None, :])
    return {(int(i), int(j)) for i, j in np.argwhere(near) if i < j}


def held_out(
    shards: Iterable[Path], families: Iterable[str] = ("drug", "pep", "qm9", "rare")
) -> list[HeldOut]:
    """Return one thermal structure each of the molecules of some shards, 300 K first."""
    chosen: dict[str, HeldOut] = {}
    for shard in shards:
        frames, smiles = load_frames([shard.name], shard.parent), np.load(shard)["smi"]
        for temperature in (300, 500, 100, 800):
            for family in families:
                for index in np.flatnonzero(frames.kind == f"{family}-md{temperature}"):
                    name = str(smiles[index])
                    if name not in chosen:
                        chosen[name] = HeldOut(family, name, frames.atoms(index))
    return list(chosen.values())


def drugs(shard: Path) -> list[Atoms]:
    """Return one thermal structure each of the drug-like molecules of a shard, 300 K first."""
    return [molecule.atoms for molecule in held_out([shard], ["drug"])]
