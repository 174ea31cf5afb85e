"""Atoms that a builder put into each other, moved apart before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from tdncalc.workflows.relax_settings import MovedApart

if TYPE_CHECKING:
    from ase import Atoms

# In sums of covalent radii. The shortest bonds of all (N₂, CO, C₂H₂) have 0.77, and a crystal
# compressed by 15 % has them at 0.65; nothing that lies nearer is chemistry.
_TANGLED, _APART = 0.6, 1.0
# Å, for two hydrogens that have a heavy neighbor each: 1.5 Å in water, the nearest of all. Nearer
# ones are pulled into H₂, whether or not a model knows it.
_TANGLED_HYDROGENS, _APART_HYDROGENS = 1.2, 1.5
_H2 = (0.6, 1.0)  # Å: the bond of H₂, free or at a metal
_BOND = 1.25  # sums of covalent radii
_ROUNDS = 200


def untangle(atoms: Atoms) -> MovedApart | None:
    """Move atoms apart that no potential can sort out, keep the constraints, and say what moved.

    Nothing happens unless two atoms are nearer than 0.6 times the sum of their covalent radii, or
    two hydrogens of heavy atoms nearer than 1.2 Å, other than H₂ at one such atom. Then these, and
    whatever they meet on their way, move along the line between them until all of them are as far
    as a bond is long.
    """
    bound = _bound_hydrogens(atoms)
    first, _, _ = _short(atoms, bound, _TANGLED, _TANGLED_HYDROGENS)
    if len(first) == 0:
        return None
    moving = np.zeros(len(atoms), dtype=bool)
    moving[first] = True
    start = atoms.positions.copy()
    for _ in range(_ROUNDS):
        if not _push(atoms, moving, bound):
            break
    ways = np.linalg.norm(atoms.positions - start, axis=1)
    return MovedApart(int(np.count_nonzero(ways)), float(ways.max())) if ways.any() else None


def perhaps_tangled(numbers: np.ndarray, pairs: np.ndarray, lengths: np.ndarray) -> bool:
    """Tell quickly whether `untangle` may have to do something.

    Parameters
    ----------
    numbers
        Atomic numbers, (N,).
    pairs, lengths
        Pairs of atoms (2, P) and their distances in Å, (P,).
    """
    radii, hydrogen = covalent_radii[numbers], numbers == 1
    first, second = pairs
    near = lengths < _TANGLED * (radii[first] + radii[second])
    near |= hydrogen[first] & hydrogen[second] & (lengths < _TANGLED_HYDROGENS)
    return bool(near.any())


def _push(atoms: Atoms, moving: np.ndarray, bound: np.ndarray) -> bool:
    """Move the atoms of the mask (N,) once; False if they are free already."""
    first, vectors, missing = _short(atoms, bound, _APART, _APART_HYDROGENS)
    mine = moving[first]
    first, vectors, missing = first[mine], vectors[mine], missing[mine]
    if len(first) == 0 or missing.max() < 1e-2:
        return False
    step = np.zeros_like(atoms.positions)
    lengths = np.linalg.norm(vectors, axis=1)
    np.add.at(step, first, -(0.25 * missing / lengths)[:, None] * vectors)
    atoms.set_positions(atoms.positions + step)
    return True


def _short(
    atoms: Atoms, bound: np.ndarray, scale: float, hydrogens: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what lies too near: atoms (P,), vectors (P, 3) to the other, and what is missing, Å.

    Too near is less than `scale` sums of radii, and less than `hydrogens` Å for two of the mask
    `bound` (N,).
    """
    radii = covalent_radii[atoms.numbers]
    reach = np.where(bound, np.maximum(scale * radii, hydrogens / 2), scale * radii)
    first, second, vectors = neighbor_list("ijD", atoms, list(reach))
    both = bound[first] & bound[second]
    wanted = np.where(both, hydrogens, scale * (radii[first] + radii[second]))
    missing = wanted - np.linalg.norm(vectors, axis=1)
    near = (missing > 0) & (first != second)
    return first[near], vectors[near], missing[near]


def _bound_hydrogens(atoms: Atoms) -> np.ndarray:
    """Return the mask (N,) of the hydrogens with a heavy neighbor, H₂ at one left out."""
    first, second = neighbor_list("ij", atoms, list(_BOND * covalent_radii[atoms.numbers]))
    chosen = (atoms.numbers[first] == 1) & (atoms.numbers[second] > 1)
    heavy: dict[int, set[int]] = {}
    for hydrogen, other in zip(first[chosen].tolist(), second[chosen].tolist(), strict=True):
        heavy.setdefault(hydrogen, set()).add(other)
    bound = np.zeros(len(atoms), dtype=bool)
    bound[list(heavy)] = True
    shortest, longest = _H2
    one, two, lengths = neighbor_list("ijd", atoms, {("H", "H"): longest})
    for i, j in zip(*(pair[lengths > shortest].tolist() for pair in (one, two)), strict=True):
        if i in heavy and heavy[i] == heavy.get(j):
            bound[[i, j]] = False
    return bound
