"""Cheap potentials and structures for every workflow."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class HistoryFreeEMT(Calculator):
    """EMT whose numbers depend on the structure alone.

    ASE's own keeps neighbors in the order of an earlier step, and so rounds differently after a
    restart.
    """

    implemented_properties = ("energy", "free_energy", "energies", "forces", "stress")

    def __init__(self, fail_at=None, scale=1.0):
        super().__init__()
        self.n_calls = 0
        self.fail_at = fail_at
        self.scale = scale

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.n_calls += 1
        inner = EMT()
        inner.calculate(atoms, list(properties), all_changes)
        self.results = {
            k: v * self.scale for k, v in inner.results.items() if k in self.implemented_properties
        }
        if self.fail_at is not None and self.n_calls >= self.fail_at:
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
            self.results["energy"] = float("nan")


@pytest.fixture
def emt():
    return HistoryFreeEMT


@pytest.fixture
def copper() -> Atoms:
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def ethanol() -> Atoms:
    return molecule("CH3CH2OH")
