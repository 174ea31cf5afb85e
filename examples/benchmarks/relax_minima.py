"""Relax 50 structures, and let SciPy's L-BFGS-B minimize the same energy from the same place.

The crystal of benzene with cells of several sizes and pressures, and molecules of the G2 set shaken
by 0.05 Å. Both minimize to the same limit in float64; the table has the difference of the minima.

    python relax_minima.py [--structures 50]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.collections import g2
from ase.io import read
from scipy.optimize import minimize

from tdncalc import RelaxSettings, TDNCalculator, relax

FMAX = 0.005  # eV/Å
STIFFNESS = 30.0  # Å: what a change of the cell counts beside one of the positions
SAME = 1e-3  # eV


@dataclass(frozen=True)
class Case:
    """A structure to relax, and how."""

    name: str
    atoms: Atoms
    cell: str = "fixed"
    pressure_GPa: float = 0.0


class Enthalpy:
    """E + P V as a function of the positions in the first cell and, if it moves, of the cell.

    The deformation F, r = F r', is 1 (fixed), s 1 (isotropic) or any 3 × 3 matrix (full); its
    gradient is V (σ + P) F⁻ᵀ.
    """

    def __init__(self, case: Case, calculator: TDNCalculator) -> None:
        self.case, self.atoms, self.cell0 = case, case.atoms.copy(), case.atoms.cell.array
        self.atoms.calc = calculator
        self.pressure = case.pressure_GPa * units.GPa

    def start(self) -> np.ndarray:
        """Return the place to begin, a vector."""
        deformation = {"fixed": [], "isotropic": [1.0], "full": np.eye(3).ravel()}[self.case.cell]
        return np.concatenate(
            [self.case.atoms.positions.ravel(), STIFFNESS * np.asarray(deformation)]
        )

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the enthalpy in eV and its gradient."""
        inner, free = np.split(x, [3 * len(self.atoms)])
        deformation = np.eye(3)
        if self.case.cell != "fixed":
            deformation = free.reshape(3, 3) if free.size == 9 else free[0] * np.eye(3)
            deformation = deformation / STIFFNESS
            self.atoms.set_cell(self.cell0 @ deformation.T)
        self.atoms.positions = inner.reshape(-1, 3) @ deformation.T
        inner_gradient = -(self.atoms.get_forces() @ deformation).ravel()
        energy = self.atoms.get_potential_energy()
        if self.case.cell == "fixed":
            return energy, inner_gradient
        volume = self.atoms.get_volume()
        stress = self.atoms.get_stress(voigt=False) + self.pressure * np.eye(3)
        strain = volume * stress @ np.linalg.inv(deformation).T
        cell_gradient = strain.ravel() if free.size == 9 else [np.trace(strain)]
        gradient = np.concatenate([inner_gradient, np.asarray(cell_gradient) / STIFFNESS])
        return energy + self.pressure * volume, gradient


def crystals() -> list[Case]:
    """Return benzene with cells of several sizes, under several pressures."""
    crystal = read(Path(__file__).parent.parent / "benzene.cif")
    found = []
    for scale, cell, pressure in [(1, "full", 0), (0.95, "full", 1), (1.05, "isotropic", 0),
                                  (1, "isotropic", 2)]:  # fmt: skip
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        found.append(Case(f"benzene crystal × {scale}, {pressure} GPa", atoms, cell, pressure))
    return found


def molecules(elements: tuple[str, ...]) -> list[Case]:
    """Return the closed-shell molecules of G2 that have four atoms or more."""
    found = []
    for name in g2.names:
        atoms = molecule(name)
        closed = not atoms.get_initial_magnetic_moments().any()
        if len(atoms) >= 4 and closed and set(atoms.symbols) <= set(elements):
            atoms.rattle(0.05, seed=1)
            found.append(Case(name, atoms))
    return found


def main() -> None:
    """Relax all by both, print a line each and the summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--structures", type=int, default=50)
    parser.add_argument("--optimizer", default="lbfgs")
    options = parser.parse_args()
    calculator = TDNCalculator(dtype="float64")
    above, steps, evaluations, converged = [], [], [], 0
    began = time.process_time()
    cells = crystals() if options.structures > 10 else []
    chosen = molecules(calculator.potential.elements)[: options.structures - len(cells)] + cells
    for case in chosen:
        settings = RelaxSettings(
            fmax=FMAX, optimizer=options.optimizer, cell=case.cell, pressure_GPa=case.pressure_GPa
        )
        ours = relax(case.atoms, calculator=calculator, settings=settings)
        enthalpy = Enthalpy(case, calculator)
        theirs = minimize(
            enthalpy,
            enthalpy.start(),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": FMAX, "ftol": 0.0, "maxfun": 400, "maxcor": 50},
        )
        volume = ours.atoms.get_volume() if case.cell != "fixed" else 0.0
        above.append(ours.energy + case.pressure_GPa * units.GPa * volume - theirs.fun)
        steps.append(ours.steps)
        evaluations.append(theirs.nfev)
        converged += ours.converged
        print(
            f"{case.name:34s} {ours.reason} in {ours.steps:3d} steps, SciPy in {theirs.nfev:3d}; "
            f"{1e3 * above[-1]:+9.3f} meV",
            flush=True,
        )
    away = np.abs(above)
    print(
        f"\n{len(chosen)} structures: {converged} converged, {(away < SAME).sum()} at SciPy's "
        f"minimum within {1e3 * SAME:g} meV (median {1e3 * np.median(away):.3f} meV), "
        f"{(np.array(above) < -SAME).sum()} below, {(np.array(above) > SAME).sum()} above it; "
        f"{np.mean(steps):.0f} steps, SciPy {np.mean(evaluations):.0f} evaluations; "
        f"{time.process_time() - began:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
