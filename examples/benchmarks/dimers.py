"""Binding of the 66 dimers of the S66 set: a model against GFN2-xTB.

The molecules come from SMILES and the dimers are minima of GFN2-xTB, found from random starts by
way of MMFF94; pairs that the set has in several arrangements give as many of their lowest minima.
Along the line between the centers of mass the nearest atoms are brought to 0.9 to 2 times their
distance, both molecules rigid, and the interaction energy (pair less its molecules) is compared.
Needs ``tblite`` and ``rdkit``.

    python dimers.py [--sample 66] [--trained TRAIN.npz ...] [--model organic]
"""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from harness.findings import options, write_findings
from harness.minima import Kept, settle
from harness.pairs import apart, arrangements, contact, distinct, interaction
from harness.s66 import MONOMERS, dimers
from rdkit import Chem
from scipy.interpolate import CubicSpline
from tblite.ase import TBLite

from tdncalc import TDNCalculator

KCAL = units.kcal / units.mol
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0)  # as in S66x8
BONDS = ("hydrogen bonds", "dispersion", "both")  # 23, 23 and 20 of the set
# Random starts of MMFF94; relaxations by GFN2-xTB beyond the number of minima wanted; and at most
STARTS, TRIED, MOST = 40, 3, 16
FINE = np.arange(0.86, 1.2001, 0.02)  # to find the minimum of each curve


def minimum(
    one: str, other: str, which: int, model: TDNCalculator, kept: Kept
) -> tuple[Atoms, int]:
    """Return a minimum of a pair by GFN2-xTB, and the number of atoms of its first molecule."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    found, first = arrangements(MONOMERS[one], MONOMERS[other], STARTS)
    ends: list[Atoms] = []
    for start in found[:MOST]:
        ends.append(kept("GFN2 minimum", start, lambda start=start: settle(start, gfn2, model)))
        if len(ends) >= which + TRIED and len(distinct(ends)) > which:
            return distinct(ends)[which], first
    raise LookupError(f"{one}-{other}: {len(distinct(ends))} minima of {MOST} relaxations")


def lowest(energies: np.ndarray, length: float) -> tuple[float, float]:
    """Return place (Å, shortest distance) and depth of the minimum of a finely scanned curve."""
    curve = CubicSpline(FINE, energies)
    scales = np.linspace(FINE[0], FINE[-1], 2001)
    best = int(np.argmin(curve(scales)))
    return float(scales[best] * length), float(curve(scales[best]))


def compare(one: str, other: str, which: int, model: TDNCalculator, kept: Kept) -> dict[str, Any]:
    """Return the curves of a dimer in kcal/mol, and where their minima are."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    pair, first = minimum(one, other, which, model, kept)
    length = contact(pair, first)
    coarse, fine = ([apart(pair, first, s) for s in scales] for scales in (SCALES, FINE))
    curves = {
        name: [interaction(pairs, first, calculator) / KCAL for pairs in (coarse, fine)]
        for name, calculator in (("true", gfn2), ("model", model))
    }
    places = {name: lowest(curve[1], length) for name, curve in curves.items()}
    return {
        "dimer": f"{one}-{other}" + (f" {which + 1}" if which else ""),
        "molecules": [one, other],
        "contact_A": length,
        "scales": SCALES,
        **{f"{name}_kcal": curve[0].tolist() for name, curve in curves.items()},
        **{f"{name}_minimum": place for name, place in places.items()},
    }


def errors(case: dict[str, Any]) -> dict[str, float]:
    """Return the errors of a dimer: energies in kcal/mol, place of the minimum in Å."""
    apart_by = np.array(case["model_kcal"]) - np.array(case["true_kcal"])
    (place, depth), (true_place, true_depth) = case["model_minimum"], case["true_minimum"]
    return {
        "at_minimum_kcal": float(apart_by[SCALES.index(1.0)]),
        "curve_kcal": float(np.abs(apart_by).mean()),
        "far_kcal": float(apart_by[-1]),
        "depth_kcal": depth - true_depth,
        "place_A": place - true_place,
    }


def known(shards: list[Path]) -> set[tuple[str, ...]]:
    """Return the molecules and pairs of training files, as sorted SMILES (RDKit's)."""
    names = {str(name) for shard in shards for name in np.load(shard)["smi"]}
    pairs = {tuple(sorted(name.split("."))) for name in names}
    return pairs | ({("O", "O")} if "water" in names else set())  # the clusters of water


def seen(case: dict[str, Any], trained: set[tuple[str, ...]]) -> str:
    """Return what of a dimer was trained on: the pair itself, or how many of its molecules."""
    parts = sorted(Chem.CanonSmiles(MONOMERS[name]) for name in case["molecules"])
    if tuple(parts) in trained:
        return "pair"
    return f"{sum((part,) in trained for part in parts)} molecules"


def table(cases: list[dict[str, Any]]) -> str:
    """Return the mean absolute errors of all dimers, and of kinds of them, in kcal/mol."""
    kinds = {"all": cases}
    for key, values in (("bond", BONDS), ("trained", sorted({c["trained"] for c in cases}))):
        for value in values:
            kinds[f"{value} in training" if key == "trained" else value] = [
                case for case in cases if case[key] == value
            ]
    lines = [
        "| dimers | number | at the minimum | depth | whole curve | at twice the distance |"
        " place of the minimum (Å) |",
        "| --- |" + " ---: |" * 6,
    ]
    for name, chosen in kinds.items():
        if chosen:
            cells = " | ".join(f"{x:.2f}" for x in list(summary(chosen).values())[1:])
            lines.append(f"| {name} | {len(chosen)} | {cells} |")
    return "\n".join(lines)


def summary(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean absolute errors of some dimers."""
    columns = ("at_minimum_kcal", "depth_kcal", "curve_kcal", "far_kcal", "place_A")
    means = {f"{name}_MAE": float(np.mean([abs(c[name]) for c in cases])) for name in columns}
    return {"dimers": len(cases)} | means


def main() -> None:
    """Scan all, print a line each and the table."""
    parser = options(__doc__.splitlines()[0], sample=66)
    parser.add_argument("--trained", type=Path, nargs="+", default=[], help="training shards")
    args = parser.parse_args()
    model, kept, trained = TDNCalculator(args.model), Kept(args.kept), known(args.trained)
    every = dimers()
    cases = []
    for index in np.linspace(0, len(every) - 1, min(args.sample, len(every))).astype(int):
        try:
            case = compare(*every[index], model, kept)
        except LookupError as error:  # GFN2-xTB has fewer arrangements than the set
            print(f"left out: {error}", flush=True)
            continue
        case |= errors(case) | {"trained": seen(case, trained), "bond": BONDS[index // 23]}
        cases.append(case)
        print(
            f"{case['dimer']:28s} GFN2-xTB {case['true_minimum'][1]:7.2f} kcal/mol, error"
            f" {case['at_minimum_kcal']:+.2f}, of the place {case['place_A']:+.3f} Å;"
            f" {case['trained']} in training",
            flush=True,
        )
    print(f"\nMean absolute errors in kcal/mol\n\n{table(cases)}")
    write_findings(args.out, "dimers", args.model, {"summary": summary(cases), "cases": cases})


if __name__ == "__main__":
    main()
