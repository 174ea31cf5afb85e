"""Our larger bundled network through its compiled kernel."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "tdncalc compiled, large"
PACKAGE = "tdncalc"
MODEL = "organic-large, published weights, float32"
ELEMENTS = "H B C N O F Si P S Cl Br I"
SETUP: list[str] = []  # runs in the environment of this package


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from tdncalc import TDNCalculator

    return TDNCalculator("organic-large", evaluation="compiled")
