"""CHGNet with the weights inside its package; it needs a periodic cell."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "CHGNet"
PACKAGE = "chgnet"
MODEL = "CHGNet 0.3.0, published weights, float32; molecules in a box with 10 Å of vacuum"
SETUP = ["chgnet==0.4.2"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from chgnet.model.dynamics import CHGNetCalculator

    if not system.pbc.all():
        system.center(vacuum=10.0)
        system.pbc = True
    return CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")
