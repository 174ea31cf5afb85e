"""GFN2-xTB, the method that the bundled model learned: no network."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "GFN2-xTB (tblite)"
PACKAGE = "tblite"
MODEL = "GFN2-xTB, float64"
ELEMENTS = "H B C N O F Si P S Cl Br I"
LARGEST = 200  # atoms; cost grows with their cube
SETUP = ["tblite==0.8.0", "ase>=3.25"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)
