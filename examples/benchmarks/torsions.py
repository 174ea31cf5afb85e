"""Torsion profiles of twenty fragments of drugs: a model against GFN2-xTB.

A bond of each is turned once around in steps of 15°, forth and back, with everything else relaxed
by GFN2-xTB, and the lower energy of both ways is kept. The model's energies are taken at these
structures, and after a relaxation of its own at the same angle. Profiles are aligned at their
minima. Needs ``tblite`` and ``rdkit``.

    python torsions.py [--sample 20] [--step 15] [--model organic] [--out found.json]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from harness.conformers import embed, to_atoms
from harness.findings import options, write_findings
from harness.fragments import FRAGMENTS
from harness.minima import Kept
from harness.torsion import profile_error, relax_at
from tblite.ase import TBLite

from tdncalc import TDNCalculator

KCAL = units.kcal / units.mol


def scan(smiles: str, four: tuple[int, ...], degrees: Sequence[float], kept: Kept) -> list[Atoms]:
    """Return GFN2-xTB's relaxed structure at each angle, the lower of two ways round."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    ways = []
    for angles in (degrees, degrees[::-1]):
        atoms, way = to_atoms(embed(smiles, 1), 0), {}
        for angle in angles:
            atoms = kept(
                f"GFN2 at {angle} of {four}",
                atoms,
                lambda atoms=atoms, angle=angle: relax_at(atoms, gfn2, four, angle),
            )
            way[angle] = atoms
        ways.append(way)
    both = ([way[angle] for way in ways] for angle in degrees)
    return [min(pair, key=Atoms.get_potential_energy) for pair in both]


def compare(
    name: str, degrees: Sequence[float], model: TDNCalculator, kept: Kept
) -> dict[str, Any]:
    """Return the profiles of a fragment in kcal/mol, and the model's errors."""
    smiles, four = FRAGMENTS[name]
    reference = scan(smiles, four, degrees, kept)
    profiles = {
        "true": [atoms.get_potential_energy() for atoms in reference],
        "there": [model.get_potential_energy(atoms.copy()) for atoms in reference],
        "relaxed": [
            relax_at(atoms, model, four, angle).get_potential_energy()
            for atoms, angle in zip(reference, degrees, strict=True)
        ],
    }
    true, there, relaxed = (np.array(energies) / KCAL for energies in profiles.values())
    return {
        "fragment": name,
        "smiles": smiles,
        "barrier_kcal": float(np.ptp(true)),
        "MAE_kcal": profile_error(there, true),
        "MAE_relaxed_kcal": profile_error(relaxed, true),
        "barrier_error_kcal": float(np.ptp(relaxed) - np.ptp(true)),
        "degrees": list(degrees),
        **{
            f"{key}_kcal": (x - x.min()).tolist()
            for key, x in (("true", true), ("there", there), ("relaxed", relaxed))
        },
    }


def main() -> None:
    """Turn all, print a line each and the summary."""
    parser = options(__doc__.splitlines()[0], sample=len(FRAGMENTS))
    parser.add_argument("--step", type=int, default=15, help="degrees")
    args = parser.parse_args()
    model, kept = TDNCalculator(args.model), Kept(args.kept)
    print(
        "| fragment | highest of GFN2-xTB (kcal/mol) | MAE at its structures | MAE relaxed |"
        " error of the highest |\n| --- |" + " ---: |" * 4
    )
    cases = []
    for name in list(FRAGMENTS)[: args.sample]:
        cases.append(case := compare(name, range(0, 360, args.step), model, kept))
        print(
            f"| {name} | {case['barrier_kcal']:.2f} | {case['MAE_kcal']:.2f} |"
            f" {case['MAE_relaxed_kcal']:.2f} | {case['barrier_error_kcal']:+.2f} |",
            flush=True,
        )
    found = {
        "fragments": len(cases),
        "MAE_kcal": float(np.mean([case["MAE_kcal"] for case in cases])),
        "MAE_relaxed_kcal": float(np.mean([case["MAE_relaxed_kcal"] for case in cases])),
        "worst": max(cases, key=lambda case: case["MAE_relaxed_kcal"])["fragment"],
    }
    print(
        f"\n{found['fragments']} fragments: MAE {found['MAE_kcal']:.2f} kcal/mol at GFN2-xTB's"
        f" structures, {found['MAE_relaxed_kcal']:.2f} relaxed"
    )
    write_findings(args.out, "torsions", args.model, {"summary": found, "cases": cases})


if __name__ == "__main__":
    main()
