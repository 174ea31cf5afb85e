"""Steps of a bundled model on the GPU against the CPU; writes the largest differences."""

import json
import sys

import numpy as np

from tdncalc import TDNCalculator
from tdncalc.fused import repeated as repeated_module
from tests.structures import structure

if __name__ == "__main__":
    name = sys.argv[1]
    repeated_module._PATIENCE = 1
    exact = TDNCalculator(device="cpu", dtype="float64")
    plain = TDNCalculator(device="cuda", evaluation="eager")
    fused = TDNCalculator(device="cuda", evaluation="compiled")
    atoms, errors = structure(name), []
    for step in range(4):  # computed, recorded, replayed, and replayed with another list
        atoms.rattle(0.5 if step == 3 else 0.02, seed=step)
        forces = [calculator.get_forces(atoms) for calculator in (exact, plain, fused)]
        errors.append([float(np.abs(one - forces[0]).max()) for one in forces[1:]])
    repeated = fused.potential.choice.repeated
    largest = float(np.abs(forces[0]).max())
    found = {"errors": errors, "largest": largest, "recorded": repeated.record is not None}
    sys.stdout.write(json.dumps(found))
