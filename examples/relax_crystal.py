"""Relax a crystal with its cell, as ASE atoms or as a pymatgen structure."""

from pathlib import Path

from pymatgen.core import Structure

from tdncalc import RelaxSettings, relax

crystal = Structure.from_file(Path(__file__).parent / "benzene.cif")
result = relax(crystal, settings=RelaxSettings(cell="full"))

before, after = crystal.lattice, result.structure.lattice  # pymatgen in, pymatgen out
print(f"converged: {result.converged}, {result.steps} steps")
print(f"{result.energy:.4f} eV, largest force {result.fmax:.4f} eV/Å")
for name, old, new in zip("abc", before.abc, after.abc, strict=True):
    print(f"{name}: {old:.3f} -> {new:.3f} Å")
print(f"volume: {before.volume:.1f} -> {after.volume:.1f} Å³")

result.structure.to(filename="benzene-relaxed.vasp", fmt="poscar")
