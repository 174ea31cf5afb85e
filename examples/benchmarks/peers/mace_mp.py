"""The architecture of MACE-MP-0 small: its weights are not in the package, so they are random."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "MACE-MP small"
PACKAGE = "mace-torch"
MODEL = "MACE-MP-0 small: 128x0e, l_max 3, cutoff 6, 89 elements; random weights, float32"
ENVIRONMENT = "mace"
SETUP = ["mace-torch==0.3.16"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from harness.random_mace import random_mace

    numbers = [*range(1, 84), *range(89, 95)]
    return random_mace(numbers, channels=128, cutoff=6.0, n_radial=10, n_neighbors=62.0)
