"""SevenNet-0 with the weights inside its package."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "SevenNet-0"
PACKAGE = "sevenn"
MODEL = "SevenNet-0 (11 July 2024), published weights, float32"
SETUP = ["sevenn==0.13.0"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")
