"""Derivatives of the energy by central differences, by positions and by strain."""

import numpy as np

STEP = 2e-4  # Å, and of the strain
# Central differences of sixth order: f' = Σ w (f(x + k h) - f(x - k h)) / h
STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}


def derivatives(potential, moves):
    """Derivative of the energy along each move, a function from a displacement to Atoms."""
    steps = [sign * k for k in STENCIL for sign in (1, -1)]
    displaced = [move(step * STEP) for move in moves for step in steps]
    results = potential.evaluate(displaced, properties=("energy",))
    energies = np.reshape([result["energy"] for result in results], (len(moves), len(STENCIL), 2))
    return (energies[:, :, 0] - energies[:, :, 1]) @ np.array(list(STENCIL.values())) / STEP


def shifted(atoms, direction):
    def move(amount):
        moved = atoms.copy()
        moved.positions += amount * direction
        return moved

    return move


def strained(atoms, i, j):
    def move(amount):
        strain = np.zeros((3, 3))
        strain[i, j] += amount / 2
        strain[j, i] += amount / 2
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + strain))
        moved.positions = atoms.positions @ (np.eye(3) + strain)
        return moved

    return move
