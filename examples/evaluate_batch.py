"""Evaluate many structures in one batch: molecules and crystals, of ASE and pymatgen, together."""

from pathlib import Path

import numpy as np
from ase.build import molecule
from pymatgen.core import Structure

from tdncalc import load_model

names = ["CH3CH2OH", "CH3COOH", "CH3CONH2", "C6H6", "C5H5N", "C4H4O"]
crystal = Structure.from_file(Path(__file__).parent / "benzene.cif")

potential = load_model("organic")
results = potential.evaluate([*map(molecule, names), crystal])

print(f"{'structure':16} {'energy (eV)':>12} {'largest force (eV/Å)':>21}")
for name, result in zip([*names, "benzene crystal"], results, strict=True):
    largest = np.linalg.norm(result["forces"], axis=1).max()
    print(f"{name:16} {result['energy']:12.4f} {largest:21.3f}")
