"""Evaluations of energy and forces to relax structures: this package's optimizers and ASE's.

Drug-like molecules of the test set of the bundled model if the environment variable TDNCALC_DATA
names the folder with gfn2/test.npz, else the larger ones of ASE's G2 set, shaken; benzene's crystal
with its cell; metals and a slab with ASE's EMT potential. Where the cell moves ASE's own optimizers
measure its stress times volume over the number of atoms, and end where more stress is left.

    TDNCALC_DATA=<folder of the data> python optimizers.py [--molecules 40] [--fmax 0.05 0.01]
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.precon import PreconLBFGS
from relax_many import make_molecules

from tdncalc import RelaxSettings, TDNCalculator, relax
from tdncalc.workflows.relax_settings import OPTIMIZERS

CRYSTAL = Path(__file__).parent.parent / "benzene.cif"
MOST = 500  # steps


@dataclass(frozen=True)
class Outcome:
    """How often an optimizer asked for forces, the energy in eV, and whether it arrived."""

    evaluations: int
    energy: float
    converged: bool


class Counted:
    """Counts how often a kind of calculator calculates: runs take copies of what they are given."""

    def __init__(self, calculator: Calculator) -> None:
        self.count, self._calculator = 0, calculator
        self._kind, self._calculate = type(calculator), type(calculator).calculate

    def __enter__(self) -> "Counted":
        def calculate(calculator: Calculator, *arguments: object, **keywords: object) -> None:
            self.count += 1
            self._calculate(calculator, *arguments, **keywords)

        self._calculator.reset()
        self._kind.calculate = calculate
        return self

    def __exit__(self, *_: object) -> None:
        self._kind.calculate = self._calculate


def ours(name: str, atoms: Atoms, calculator: Calculator, fmax: float, cell: str) -> Outcome:
    """Relax by an optimizer of this package."""
    settings = RelaxSettings(fmax=fmax, optimizer=name, cell=cell, steps=MOST)
    with Counted(calculator) as calls:
        result = relax(atoms, calculator=calculator, settings=settings)
    return Outcome(calls.count, result.energy, result.converged)


def theirs(
    make: Callable[..., object], atoms: Atoms, calculator: Calculator, fmax: float, cell: str
) -> Outcome:
    """Relax by an optimizer of ASE's, as in a script."""
    atoms = atoms.copy()
    atoms.calc = calculator
    target = atoms if cell == "fixed" else FrechetCellFilter(atoms)
    with Counted(calculator) as calls, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            converged = make(target, logfile=None).run(fmax=fmax, steps=MOST)
        except (ArithmeticError, RuntimeError, ValueError):  # line searches that give up
            converged = False
    return Outcome(calls.count, float(atoms.get_potential_energy()), bool(converged))


def groups(count: int) -> list[tuple[str, list[Atoms], Calculator, str]]:
    """Return what to relax: a name, structures, their calculator, and what of the cell moves."""
    model = TDNCalculator()
    source, molecules = make_molecules(480, model.potential.elements)
    places = np.linspace(0, len(molecules) - 1, count).astype(int)
    metals = [bulk(symbol, cubic=True) * (2, 2, 2) for symbol in ("Al", "Cu", "Pd", "Pt", "Au")]
    slab = fcc111("Cu", (3, 3, 4), vacuum=8.0, periodic=True)
    add_adsorbate(slab, "O", 1.5, "fcc")
    for atoms in [*metals, slab]:
        atoms.rattle(0.1, seed=1)
    return [
        (source, [molecules[i] for i in places], model, "fixed"),
        ("benzene crystal and cell", [read(CRYSTAL)], model, "full"),
        ("metals, EMT", metals, EMT(), "fixed"),
        ("metals and cells, EMT", metals, EMT(), "full"),
        ("O on Cu(111), EMT", [slab], EMT(), "fixed"),
    ]


def line(name: str, outcomes: list[Outcome], first: list[Outcome]) -> str:
    """Return a line of the table; energies are against those of the first optimizer."""
    counts = [outcome.evaluations for outcome in outcomes]
    above = [1e3 * (a.energy - b.energy) for a, b in zip(outcomes, first, strict=True)]
    arrived = sum(outcome.converged for outcome in outcomes)
    return (
        f"| {name} | {np.mean(counts):.1f} | {max(counts)} | {arrived} of {len(outcomes)} "
        f"| {np.mean(above):+.1f} |"
    )


def main() -> None:
    """Relax by each optimizer and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=40)
    parser.add_argument("--fmax", type=float, nargs="+", default=[0.05, 0.01])
    options = parser.parse_args()
    ase = {"LBFGS": LBFGS, "BFGS": BFGS, "FIRE": FIRE, "PreconLBFGS": PreconLBFGS}
    for title, structures, calculator, cell in groups(options.molecules):
        for fmax in options.fmax:
            print(f"\n{title}: {len(structures)} structures to fmax {fmax:g} eV/Å\n")
            print("| optimizer | evaluations | most | converged | energy, meV |")
            print("| --- | ---: | ---: | ---: | ---: |")
            first: list[Outcome] = []
            for name in OPTIMIZERS:
                found = [ours(name, a, calculator, fmax, cell) for a in structures]
                first = first or found
                print(line(name, found, first), flush=True)
            for name, make in ase.items():
                found = [theirs(make, a, calculator, fmax, cell) for a in structures]
                print(line(f"ASE's {name}", found, first), flush=True)


if __name__ == "__main__":
    main()
