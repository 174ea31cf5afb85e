"""Attach the bundled model to an ASE structure: energy, forces, energies of the atoms."""

from pathlib import Path

import numpy as np
from ase.io import read

from tdncalc import TDNCalculator

atoms = read(Path(__file__).parent / "aspirin.xyz")
atoms.calc = TDNCalculator()

energy = atoms.get_potential_energy()
forces = atoms.get_forces()
energies = atoms.get_potential_energies()

print(f"{atoms.get_chemical_formula()}: {energy:.4f} eV")
print(f"largest force: {np.linalg.norm(forces, axis=1).max():.3f} eV/Å")
print(f"energies of the atoms: {energies.min():.3f} to {energies.max():.3f} eV")
