"""What may not change an energy: rotation, reflection, translation, permutation."""

import numpy as np
from ase import Atoms


def rotated(atoms, *, improper=False) -> Atoms:
    q, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    q *= np.linalg.det(q) * (-1 if improper else 1)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ q.T)
    turned.positions = atoms.positions @ q.T
    return turned


def translated(atoms) -> Atoms:
    moved = atoms.copy()
    moved.positions += [1000.0, -1000.0, 577.7]
    return moved


def permuted(atoms) -> Atoms:
    return atoms[np.random.default_rng(6).permutation(len(atoms))]


CHANGES = {
    "rotation": rotated,
    "reflection": lambda atoms: rotated(atoms, improper=True),
    "translation": translated,
    "permutation": permuted,
}
