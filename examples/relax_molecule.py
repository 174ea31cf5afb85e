"""Relax a molecule, and see from its vibrations that it is at a minimum."""

from pathlib import Path

from ase.io import read
from ase.vibrations import VibrationsData

from tdncalc import RelaxSettings, TDNCalculator, relax

atoms = read(Path(__file__).parent / "ethanol.xyz")
calculator = TDNCalculator(dtype="float64")

result = relax(atoms, calculator=calculator, settings=RelaxSettings(fmax=0.001))
print(f"converged: {result.converged}, {result.steps} steps")
print(f"{result.energy:.4f} eV, largest force {result.fmax:.4f} eV/Å")

# The Hessian is analytic: one call, no finite differences.
hessian = calculator.get_hessian(result.atoms)
vibrations = VibrationsData.from_2d(result.atoms, hessian)
internal = vibrations.get_frequencies()[6:].real  # the first six turn and move the molecule
print(f"{len(internal)} vibrations, {internal.min():.0f} to {internal.max():.0f} cm⁻¹")

result.atoms.write("ethanol-relaxed.xyz")
