"""Our bundled network for metals through its compiled kernel."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "tdncalc compiled, metals"
PACKAGE = "tdncalc"
MODEL = "metals, published weights, float32"
ELEMENTS = "Li Si Ni Cu Ge Nb Mo Ta W"
SETUP: list[str] = []  # runs in the environment of this package


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from tdncalc import TDNCalculator

    return TDNCalculator("metals", evaluation="compiled")
