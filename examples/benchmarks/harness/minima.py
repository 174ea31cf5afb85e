"""Minima to a tight limit, and results of the reference kept on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.optimize import BFGS

from tdncalc import RelaxSettings, relax

__all__ = ["FMAX", "Kept", "curvature", "frozen", "settle"]

FMAX = 0.002  # eV/Å: at 0.05 the ends of two relaxations differ by 0.05 Å in soft torsions
_SOFT = 0.1  # eV/Å²: what is softer in the first Hessian, and rotation, is taken as this


def frozen(atoms: Atoms) -> Atoms:
    """Return a copy that holds its energy in eV and forces, and no calculator to compute more."""
    copy = atoms.copy()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
    copy.calc = SinglePointCalculator(copy, energy=float(energy), forces=forces)
    return copy


def curvature(atoms: Atoms, calculator: Calculator, step: float = 0.01) -> np.ndarray:
    """Return the Hessian (3N, 3N) in eV/Å² from central differences of the forces."""
    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = calculator
    rows = np.empty((3 * len(atoms), 3 * len(atoms)))
    for index in range(3 * len(atoms)):
        ends = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions.ravel()[index] += sign * step
            moved.positions = positions
            ends.append(moved.get_forces().ravel())
        rows[index] = (ends[1] - ends[0]) / (2 * step)
    return (rows + rows.T) / 2


def settle(atoms: Atoms, calculator: Calculator, guide: Calculator, fmax: float = FMAX) -> Atoms:
    """Relax with the optimizer of the package, then on to a tight limit.

    Parameters
    ----------
    atoms
        Where to start.
    calculator
        Whose minimum is looked for.
    guide
        A cheap calculator whose Hessian starts the second part: it changes the number of steps.
    fmax
        Largest force of the end, eV/Å.

    Returns
    -------
    Atoms
        The minimum with its energy and forces.
    """
    first = relax(atoms, calculator=calculator, settings=RelaxSettings(fmax=0.05, steps=1000))
    end = first.atoms.copy()
    end.calc = calculator
    stiffness, modes = np.linalg.eigh(curvature(end, guide))
    optimizer = BFGS(end, logfile=None)
    optimizer.H0 = (modes * np.maximum(np.abs(stiffness), _SOFT)) @ modes.T
    optimizer.run(fmax=fmax, steps=500)
    return frozen(end)


class Kept:
    """Structures that cost something to compute, in a folder for the next run (None: not kept)."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __call__(self, what: str, start: Atoms, compute: Callable[[], Atoms]) -> Atoms:
        """Return what was made of a structure before, or compute it."""
        if self.folder is None:
            return compute()
        key = what.encode() + start.numbers.tobytes() + start.positions.round(6).tobytes()
        path = self.folder / f"{hashlib.sha256(key).hexdigest()[:32]}.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write(path, compute(), format="json")
        return read(path, format="json")
