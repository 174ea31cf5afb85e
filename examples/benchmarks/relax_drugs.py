"""Relax held-out drug-like molecules with the bundled model and with GFN2-xTB itself.

Starts from thermal structures of molecules that the model has not seen (the test shard of its data)
and compares the two minima: all atoms' bonds, heavy-atom RMSD, and bond lengths. Needs ``tblite``.

    python relax_drugs.py TEST.npz [--molecules 50]
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.optimize import LBFGS
from harness.drugs import bonds, drugs
from tblite.ase import TBLite

from tdncalc import RelaxSettings, TDNCalculator, relax


def heavy_rmsd(one: Atoms, other: Atoms) -> float:
    """Return the RMSD in Å of the atoms other than hydrogen after the best superposition."""
    heavy = one.numbers > 1
    a, b = one[heavy], other[heavy]
    a.pbc = b.pbc = False
    minimize_rotation_and_translation(a, b)
    return float(np.sqrt(((a.positions - b.positions) ** 2).sum(1).mean()))


def main() -> None:
    """Relax all, print a line each and the summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shard", type=Path)
    parser.add_argument("--molecules", type=int, default=50)
    options = parser.parse_args()
    calculator = TDNCalculator()
    rmsds, lengths, converged, broken, steps = [], [], 0, 0, []
    for atoms in drugs(options.shard)[: options.molecules]:
        result = relax(atoms, calculator=calculator, settings=RelaxSettings(fmax=0.05))
        true = atoms.copy()
        true.calc = TBLite(method="GFN2-xTB", verbosity=0)
        LBFGS(true, logfile=None).run(fmax=0.02, steps=1000)
        converged += result.converged
        same = bonds(result.atoms) == bonds(true)
        broken += not same
        steps.append(result.steps)
        rmsds.append(heavy_rmsd(true, result.atoms))
        pairs = np.array(sorted(bonds(true)))
        found, expected = (
            a.positions[pairs[:, 0]] - a.positions[pairs[:, 1]] for a in (result.atoms, true)
        )
        lengths.append(
            np.abs(np.linalg.norm(found, axis=1) - np.linalg.norm(expected, axis=1)).mean()
        )
        formula = atoms.get_chemical_formula()
        print(
            f"{formula:18s} {result.reason} in {result.steps:3d} steps, RMSD {rmsds[-1]:.3f} Å, "
            f"bonds {'kept' if same else 'CHANGED'}",
            flush=True,
        )
    print(
        f"\n{len(rmsds)} molecules: {converged} converged, {broken} with changed bonds, "
        f"median steps {np.median(steps):.0f}"
    )
    print(
        f"heavy-atom RMSD to the GFN2 minimum: median {np.median(rmsds):.3f} Å, "
        f"90th percentile {np.percentile(rmsds, 90):.3f} Å; "
        f"bond lengths MAE {np.mean(lengths):.4f} Å"
    )


if __name__ == "__main__":
    main()
