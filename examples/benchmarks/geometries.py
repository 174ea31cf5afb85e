"""Minima of held-out molecules: those of a model against those of GFN2-xTB from the same start.

Starts from thermal structures of molecules that the model has not seen, spread evenly over the
distinct molecules of the shards, and relaxes each with both to 0.002 eV/Å. GFN2-xTB also relaxes
from the model's minimum: that tells other basins from errors within one, of which
the part in the three softest vibrations is given. Needs ``tblite``.

    python geometries.py TEST.npz VALID.npz [--sample 200] [--model organic] [--out found.json]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from harness.findings import options, write_findings
from harness.minima import Kept, curvature, settle
from harness.molecules import HeldOut, bonds, held_out
from harness.superposition import angles, best_rmsd, bond_angles, lengths, rotatable, soft_part
from tblite.ase import TBLite

from tdncalc import TDNCalculator
from tdncalc.cards import read_card

SAME = 0.1  # Å: GFN2 minima nearer than this are one
FLOPPY = 3  # rotatable bonds from which on a molecule is called floppy


def compare(molecule: HeldOut, model: TDNCalculator, weights: str, kept: Kept) -> dict[str, Any]:
    """Relax a molecule with both, and return how far the minima are apart (Å, degrees)."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    start = molecule.atoms
    ours = kept(f"minimum of {weights}", start, lambda: settle(start, model, model))
    true = kept("GFN2 minimum", start, lambda: settle(start, gfn2, model))
    near = kept("GFN2 minimum", ours, lambda: settle(ours, gfn2, model))
    pairs, triples = sorted(bonds(true)), bond_angles(true)
    return {
        "family": molecule.family,
        "smiles": molecule.smiles,
        "atoms": len(ours),
        "rotatable": rotatable(true),
        "fmax": float(np.linalg.norm(ours.get_forces(), axis=1).max()),
        "rmsd": best_rmsd(ours, true),
        "rmsd_nearest": best_rmsd(ours, near),
        "same_basin": best_rmsd(near, true) < SAME,
        "soft_part": soft_part(ours, near, curvature(ours, model)),
        "bonds_kept": bonds(ours) == bonds(true),
        "bond_errors": np.abs(lengths(ours, pairs) - lengths(true, pairs)).tolist(),
        "angle_errors": np.abs(angles(ours, triples) - angles(true, triples)).tolist(),
    }


def summary(cases: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return medians and mean errors of some molecules."""
    cases = list(cases)
    return {
        "molecules": len(cases),
        "rmsd_median_A": float(np.median([case["rmsd"] for case in cases])),
        "rmsd_90_percent_A": float(np.percentile([case["rmsd"] for case in cases], 90)),
        "rmsd_nearest_median_A": float(np.median([case["rmsd_nearest"] for case in cases])),
        "same_basin": float(np.mean([case["same_basin"] for case in cases])),
        "soft_part_median": float(np.nanmedian([case["soft_part"] for case in cases])),
        "bonds_kept": sum(case["bonds_kept"] for case in cases),
        "bond_length_MAE_A": float(np.mean(np.concatenate([c["bond_errors"] for c in cases]))),
        "angle_MAE_degrees": float(np.mean(np.concatenate([c["angle_errors"] for c in cases]))),
    }


def table(cases: list[dict[str, Any]]) -> str:
    """Return the figures of all molecules and of kinds of them as a markdown table."""
    kinds = {
        "all": cases,
        f"fewer than {FLOPPY} rotatable bonds": [c for c in cases if c["rotatable"] < FLOPPY],
        f"{FLOPPY} or more": [c for c in cases if c["rotatable"] >= FLOPPY],
        "those of all in the same minimum": [c for c in cases if c["same_basin"]],
        **{name: [c for c in cases if c["family"] == name] for name in ("drug", "qm9", "rare")},
    }
    lines = [
        "| molecules | number | RMSD (Å), median | 90 % | to the nearest GFN2 minimum, median |"
        " in the 3 softest vibrations | same minimum | bond lengths MAE (Å) | angles MAE (°) |",
        "| --- |" + " ---: |" * 8,
    ]
    for name, chosen in kinds.items():
        if chosen:
            found = summary(chosen)
            lines.append(
                f"| {name} | {found['molecules']} | {found['rmsd_median_A']:.3f} |"
                f" {found['rmsd_90_percent_A']:.3f} | {found['rmsd_nearest_median_A']:.3f} |"
                f" {found['soft_part_median']:.0%} | {found['same_basin']:.0%} |"
                f" {found['bond_length_MAE_A']:.4f} | {found['angle_MAE_degrees']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Relax all, print a line each and the tables."""
    parser = options(__doc__.splitlines()[0], sample=200)
    parser.add_argument("shards", type=Path, nargs="+")
    args = parser.parse_args()
    model, kept = TDNCalculator(args.model), Kept(args.kept)
    weights = read_card(args.model)["sha256"]
    molecules = held_out(args.shards)
    chosen = np.linspace(0, len(molecules) - 1, min(args.sample, len(molecules))).astype(int)
    cases = []
    for index in chosen:
        cases.append(compare(molecules[index], model, weights, kept))
        case = cases[-1]
        print(
            f"{case['smiles']:60s} {case['atoms']:3d} atoms, {case['rotatable']:2d} rotatable, RMSD"
            f" {case['rmsd']:.3f} Å, nearest {case['rmsd_nearest']:.3f} Å,"
            f" bonds {'kept' if case['bonds_kept'] else 'CHANGED'}",
            flush=True,
        )
    found = summary(cases)
    print(f"\n{table(cases)}")
    print(f"\nthe same bonds in {found['bonds_kept']} of {len(cases)}")
    write_findings(args.out, "geometries", args.model, {"summary": found, "cases": cases})


if __name__ == "__main__":
    main()
