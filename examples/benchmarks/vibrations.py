"""Frequencies of small molecules: a model against GFN2-xTB, each at its own minimum.

Harmonic frequencies from central differences of the forces, with two displacements: where the
curvature changes within them the two differ. Needs ``tblite``.

    python vibrations.py [--model organic] [--sample 12] [--out found.json]
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.units import invcm
from ase.vibrations import VibrationsData
from harness.findings import options, write_findings
from harness.minima import curvature, settle
from tblite.ase import TBLite

from tdncalc import TDNCalculator

NAMES = ("H2O", "NH3", "CH4", "HCN", "H2CO", "CH3OH", "HCOOH", "C2H4", "CH3CHO", "CH3NO2", "C6H6")
NAMES += ("CH3CONH2",)
DISPLACEMENTS = (0.002, 0.01)  # Å


def frequencies(atoms: Atoms, calculator: Calculator, displacement: float) -> np.ndarray:
    """Return the frequencies of the vibrations in cm⁻¹, ascending; imaginary ones negative."""
    hessian = curvature(atoms, calculator, displacement)
    energies = VibrationsData.from_2d(atoms, hessian).get_energies()
    signed = np.where(np.abs(energies.imag) > np.abs(energies.real), -energies.imag, energies.real)
    order = np.argsort(np.abs(signed))
    return np.sort(signed[order][6:]) / invcm  # the six nearest to zero move the whole


def compare(name: str, model: TDNCalculator) -> dict[str, Any]:
    """Compare the frequencies of one molecule."""
    gfn2 = TBLite(method="GFN2-xTB", verbosity=0)
    minima = {"ours": (settle(molecule(name), model, model), model)}
    minima["gfn2"] = (settle(molecule(name), gfn2, model), gfn2)
    found = {
        key: [frequencies(atoms, calculator, d) for d in DISPLACEMENTS]
        for key, (atoms, calculator) in minima.items()
    }
    off = found["ours"][0] - found["gfn2"][0]
    return {
        "molecule": name,
        "MAE_per_cm": float(np.abs(off).mean()),
        "highest_per_cm": float(found["gfn2"][0][-1]),
        "highest_off_per_cm": float(off[-1]),
        "of_displacement_per_cm": float(np.abs(found["ours"][1] - found["ours"][0]).max()),
        "of_displacement_gfn2_per_cm": float(np.abs(found["gfn2"][1] - found["gfn2"][0]).max()),
    }


def main() -> None:
    """Compare all, print a line each and the means."""
    parser = options(__doc__.splitlines()[0], sample=len(NAMES), kept=False)
    args = parser.parse_args()
    model = TDNCalculator(args.model, dtype="float64")
    near, far = DISPLACEMENTS
    print(
        f"| molecule | MAE (cm⁻¹) | highest, GFN2-xTB | off | most that a displacement of {far} Å"
        f" changes against {near} | GFN2-xTB |\n| --- |" + " ---: |" * 5
    )
    cases = []
    for name in NAMES[: args.sample]:
        cases.append(case := compare(name, model))
        figures = [f"{value:.0f}" for key, value in case.items() if key != "molecule"]
        print(f"| {name} | {' | '.join(figures)} |", flush=True)
    keys = [key for key in cases[0] if key != "molecule"]
    summary = {key: float(np.mean([abs(case[key]) for case in cases])) for key in keys}
    print(f"mean MAE {summary['MAE_per_cm']:.1f} cm⁻¹; highest {summary['highest_off_per_cm']:.1f}")
    write_findings(args.out, "vibrations", args.model, {"summary": summary, "cases": cases})


if __name__ == "__main__":
    main()
