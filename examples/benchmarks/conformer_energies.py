"""Does a model rank conformers as GFN2-xTB does? Relaxed energies of drug-like molecules.

Takes held-out drug-like molecules of at most 36 atoms of which RDKit finds eight distinct
conformers, and relaxes each conformer with the model and with GFN2-xTB; those that GFN2-xTB brings
into one minimum count once. Spearman's rank correlation of the energies is given between the two
sets of minima, and with the model's energies at the minima of GFN2-xTB. Needs ``tblite`` and
``rdkit``.

    python conformer_energies.py TEST.npz VALID.npz [--sample 20] [--conformers 10]
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from harness.conformers import conformers
from harness.findings import options, write_findings
from harness.minima import Kept, settle
from harness.molecules import held_out
from harness.superposition import best_rmsd, rotatable
from scipy.stats import spearmanr
from tblite.ase import TBLite

from tdncalc import TDNCalculator
from tdncalc.cards import read_card

KCAL = units.kcal / units.mol
SAME = 0.2  # Å: minima nearer than this are one
LEAST, LARGEST = 8, 36  # conformers and atoms of a molecule


def flexible(shards: list[Path], most: int) -> Iterator[tuple[str, list[Atoms]]]:
    """Yield SMILES and conformers of drug-like molecules that have enough of them."""
    for molecule in held_out(shards, ["drug"]):
        if len(molecule.atoms) <= LARGEST and rotatable(molecule.atoms) > 2:
            found = conformers(molecule.smiles, most)
            if len(found) >= LEAST:
                yield molecule.smiles, found


def compare(
    smiles: str, starts: list[Atoms], model: TDNCalculator, weights: str, kept: Kept
) -> dict[str, Any]:
    """Relax the conformers of a molecule with both, and compare the energies."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    true: list[Atoms] = []
    ours: list[Atoms] = []
    for start in starts:
        end = kept("GFN2 minimum", start, lambda start=start: settle(start, gfn2, model))
        if all(best_rmsd(end, other) > SAME for other in true):
            true.append(end)
            name = f"minimum of {weights}"
            ours.append(kept(name, start, lambda start=start: settle(start, model, model)))
    relaxed, reference = (
        np.array([atoms.get_potential_energy() for atoms in minima]) for minima in (ours, true)
    )
    there = np.array([model.get_potential_energy(atoms.copy()) for atoms in true])
    return {
        "smiles": smiles,
        "conformers": len(true),
        "range_kcal": float(np.ptp(reference) / KCAL),
        "spearman": float(spearmanr(relaxed, reference).statistic),
        "spearman_same_geometry": float(spearmanr(there, reference).statistic),
        "MAE_kcal": relative_error(relaxed, reference) / KCAL,
        "MAE_same_geometry_kcal": relative_error(there, reference) / KCAL,
        "same_basin": float(np.mean([best_rmsd(*p) < SAME for p in zip(ours, true, strict=True)])),
    }


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the mean absolute error of energies, each relative to the mean of its set."""
    return float(np.abs((found - found.mean()) - (true - true.mean())).mean())


def summary(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Return means and medians of what was found, over molecules."""
    found: dict[str, float] = {"molecules": len(cases)}
    found["conformers"] = sum(case["conformers"] for case in cases)
    for name in cases[0].keys() - {"smiles", "conformers"}:
        values = [case[name] for case in cases]
        found[f"{name}_mean"] = float(np.mean(values))
        found[f"{name}_median"] = float(np.median(values))
    return found


def main() -> None:
    """Compare all, print a line each and the summary."""
    parser = options(__doc__.splitlines()[0], sample=20)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--conformers", type=int, default=10)
    args = parser.parse_args()
    model, kept = TDNCalculator(args.model), Kept(args.kept)
    weights = read_card(args.model)["sha256"]
    print(
        "| molecule | conformers | range (kcal/mol) | Spearman | at GFN2's minima |"
        " MAE (kcal/mol) | at GFN2's minima |\n| --- |" + " ---: |" * 6
    )
    cases = []
    for (smiles, starts), _ in zip(
        flexible(args.shards, args.conformers), range(args.sample), strict=False
    ):
        cases.append(case := compare(smiles, starts, model, weights, kept))
        print(
            f"| {smiles} | {case['conformers']} | {case['range_kcal']:.1f} |"
            f" {case['spearman']:.3f} | {case['spearman_same_geometry']:.3f} |"
            f" {case['MAE_kcal']:.2f} | {case['MAE_same_geometry_kcal']:.2f} |",
            flush=True,
        )
    found = summary(cases)
    print(
        f"\n{found['molecules']} molecules, {found['conformers']} conformers: Spearman median"
        f" {found['spearman_median']:.3f}, mean {found['spearman_mean']:.3f};"
        f" at GFN2's minima {found['spearman_same_geometry_median']:.3f},"
        f" {found['spearman_same_geometry_mean']:.3f}; MAE {found['MAE_kcal_mean']:.2f} and"
        f" {found['MAE_same_geometry_kcal_mean']:.2f} kcal/mol"
    )
    write_findings(args.out, "conformer_energies", args.model, {"summary": found, "cases": cases})


if __name__ == "__main__":
    main()
