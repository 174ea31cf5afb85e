"""The architecture of MACE-OFF23 small: its weights are not in the package, so they are random."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "MACE-OFF small"
PACKAGE = "mace-torch"
MODEL = "MACE-OFF23 small: 96x0e, l_max 3, cutoff 4.5; random weights, float32"
ELEMENTS = "H C N O F P S Cl Br I"
ENVIRONMENT = "mace"
SETUP = ["mace-torch==0.3.16"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from harness.random_mace import random_mace

    numbers = [1, 6, 7, 8, 9, 15, 16, 17, 35, 53]
    return random_mace(numbers, channels=96, cutoff=4.5, n_radial=8, n_neighbors=15.0)
