"""A cheap potential and small structures for every workflow."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from tdncalc.errors import StructureError


class MorseLattice(Calculator):
    """Morse pairs of every atom with every atom of its cell and of the cells around it.

    E = ½ Σ D [(1 - e)² - 1] with e = exp(-a (r - r₀)); copper by L. A. Girifalco and V. G. Weizer,
    Phys. Rev. 114, 687 (1959). Without a cutoff and with images that never change it is smooth,
    and its numbers depend on the structure alone: ASE's own calculators keep neighbors in the
    order of an earlier step, and so round differently after a restart.

    Parameters
    ----------
    scale
        Factor of the energy.
    fail_at
        The call from which on energy and forces are not a number.
    refuse_at
        The call that refuses the structure.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, scale=1.0, fail_at=None, refuse_at=None):
        super().__init__()
        self.depth, self.width, self.r0 = 0.3429 * scale, 1.3588, 2.866
        self.fail_at, self.refuse_at = fail_at, refuse_at
        self.n_calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.n_calls += 1
        if self.n_calls == self.refuse_at:
            raise StructureError("structure: two atoms are at one point")
        ranges = [(-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc]
        shifts = np.array(list(itertools.product(*ranges))) @ atoms.cell.array
        pairs = atoms.positions[None] + shifts[:, None, None] - atoms.positions[:, None]
        r = np.linalg.norm(pairs, axis=-1)  # (images, N, N)
        own = r == 0.0
        e = np.where(own, 0.0, np.exp(-self.width * (r - self.r0)))
        slope = 2 * self.depth * self.width * (e - e**2)
        pull = np.where(own, 0.0, slope / np.where(own, 1.0, r))[..., None] * pairs
        energy = 0.5 * self.depth * float((e**2 - 2 * e).sum())
        forces = pull.sum(axis=(0, 2))
        if self.fail_at is not None and self.n_calls >= self.fail_at:
            energy, forces = float("nan"), forces * np.nan
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if atoms.cell.rank == 3:
            stress = 0.5 * np.einsum("sija,sijb->ab", pull, pairs) / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


@pytest.fixture
def morse():
    return MorseLattice


@pytest.fixture
def copper() -> Atoms:
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def cluster() -> Atoms:
    """A molecule as far as the potential goes: six atoms near an octahedron."""
    corners = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    atoms = Atoms("Cu6", 1.9 * np.array(corners))
    atoms.rattle(0.05, seed=2)
    return atoms


@pytest.fixture
def skewed() -> Atoms:
    """Copper in a cell without a right angle, and left-handed."""
    atoms = bulk("Cu", a=3.6, cubic=True)
    cell = atoms.cell.array[[1, 0, 2]] + [[0.4, 0, 0.1], [0, -0.3, 0.5], [0.2, 0.6, 0]]
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    return atoms
