"""Our bundled network through PyTorch with e3nn's tensor product."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "tdncalc, e3nn's product"
PACKAGE = "tdncalc"
MODEL = "organic, published weights, float32"
ELEMENTS = "H B C N O F Si P S Cl Br I"
SETUP: list[str] = []  # runs in the environment of this package


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from tdncalc import TDNCalculator

    return TDNCalculator("organic", evaluation="eager", product="cg")
