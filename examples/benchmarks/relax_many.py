"""Relax drug-like molecules together or one at a time: time, and whether the minima are the same.

The molecules, 20 to 50 atoms each, are thermal structures of the test and validation sets of the
bundled model if the environment variable TDNCALC_DATA names the folder with gfn2/, else the
larger ones of ASE's G2 set, shaken. One at a time is measured on some, spread over all: by `relax`
and by ASE's own LBFGS with the same calculator, as in a script.

    TDNCALC_DATA=<folder of the data> python relax_many.py [--molecules 1000] [--sample 60]
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.optimize import LBFGS
from batches import data_molecules, g2_molecules
from harness.report import machine

from tdncalc import Potential, RelaxResult, RelaxSettings, TDNCalculator, relax, relax_many
from tdncalc.workflows.relax_settings import OPTIMIZERS

SETS = ("test.npz", "valid.npz")


def make_molecules(count: int, known: tuple[str, ...]) -> tuple[str, list[Atoms]]:
    """Return so many molecules, shaken anew where they run out, and where they come from."""
    folder = Path(os.environ.get("TDNCALC_DATA", "/none")) / "gfn2"
    found = [
        a for name in SETS if (folder / name).exists() for a in data_molecules(folder / name, count)
    ]
    source = "GFN2 test and validation sets, drug-like"
    if not found:
        source, found = "G2", [atoms for atoms in g2_molecules(known) if len(atoms) > 8]
    else:
        found = [atoms for atoms in found if 20 <= len(atoms) <= 50]
    chosen = [atoms.copy() for atoms in itertools.islice(itertools.cycle(found), count)]
    for index, atoms in enumerate(chosen):
        if source == "G2" or index >= len(found):
            atoms.rattle(0.05, seed=index)
    return source, chosen


def together(
    molecules: list[Atoms], calculator: TDNCalculator, settings: RelaxSettings
) -> list[RelaxResult]:
    """Relax all in batches."""
    outcomes = relax_many(molecules, calculator=calculator, settings=settings)
    results = {outcome.index: outcome.result for outcome in outcomes}
    return [result for _, result in sorted(results.items()) if result is not None]


def with_ase(
    molecules: list[Atoms], calculator: TDNCalculator, settings: RelaxSettings
) -> list[RelaxResult]:
    """Relax one after another with ASE's LBFGS."""
    results = []
    for given in molecules:
        began, atoms = time.perf_counter(), given.copy()
        atoms.calc = calculator
        optimizer = LBFGS(atoms, logfile=None)
        converged = bool(optimizer.run(fmax=settings.fmax, steps=settings.steps))
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        results.append(
            RelaxResult(
                structure=atoms,
                atoms=atoms,
                converged=converged,
                reason="converged" if converged else "not converged",
                steps=optimizer.nsteps,
                energy=float(energy),
                fmax=float(np.linalg.norm(forces, axis=1).max()),
                stress_GPa=None,
                seconds=time.perf_counter() - began,
            )
        )
    return results


@dataclass(frozen=True)
class Measured:
    """Results of one way, and the seconds that it took.

    `kernel` are those of wall time in which forces were computed.
    """

    results: list[RelaxResult]
    cpu: float
    wall: float
    kernel: float

    @property
    def evaluations(self) -> int:
        """How often the forces of a molecule were needed."""
        return sum(result.steps + 1 for result in self.results)

    def row(self, name: str) -> str:
        """Return a line of the table, times in ms for each molecule."""
        number = len(self.results)
        converged = sum(result.converged for result in self.results)
        each = [1e3 * seconds / number for seconds in (self.cpu, self.wall, self.kernel)]
        return (
            f"{name:>14} {number:9d} {self.evaluations / number:11.1f} {converged:10d} "
            f"{each[0]:12.1f} {each[1]:13.1f} {each[2]:15.1f}"
        )


class Stopwatch:
    """Measures ways of relaxing with one potential."""

    def __init__(self, potential: Potential) -> None:
        self._compute, self._kernel = potential.compute, 0.0
        potential.compute = self._timed

    def _timed(self, *arguments: object, **options: object) -> object:
        began = time.perf_counter()
        results = self._compute(*arguments, **options)
        self._kernel += time.perf_counter() - began
        return results

    def measure(self, run: Callable[[], list[RelaxResult]]) -> Measured:
        """Run something, and return what it gives and takes."""
        cpu, wall, self._kernel = time.process_time(), time.perf_counter(), 0.0
        results = run()
        seconds = time.process_time() - cpu, time.perf_counter() - wall
        return Measured(results, *seconds, self._kernel)


def compare(many: list[RelaxResult], alone: list[RelaxResult]) -> str:
    """Say how many of the minima are the same."""
    pairs = list(zip(many, alone, strict=True))
    energies = np.array([abs(a.energy - b.energy) for a, b in pairs])
    moved = np.array([np.abs(a.atoms.positions - b.atoms.positions).max() for a, b in pairs])
    same = (energies < 1e-3) & (moved < 0.01)
    return (
        f"{same.sum()} of {len(pairs)} minima within 1 meV and 0.01 Å; largest differences "
        f"{energies.max() * 1e3:.2g} meV, {moved.max():.2g} Å"
    )


def lower(ours: list[RelaxResult], theirs: list[RelaxResult]) -> str:
    """Say how the energies compare with those of another optimizer."""
    differences = 1e3 * np.array([a.energy - b.energy for a, b in zip(ours, theirs, strict=True)])
    return (
        f"mean {differences.mean():+.1f} meV, {(differences < -1).sum()} lower and "
        f"{(differences > 1).sum()} higher by more than 1 meV"
    )


def main() -> None:
    """Relax both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=60, help="how many one at a time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="lbfgs")
    parser.add_argument("--fmax", type=float, default=0.05)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    calculator = TDNCalculator()
    calculator.potential.settle(wait=True)
    settings = RelaxSettings(fmax=options.fmax, optimizer=options.optimizer)
    source, molecules = make_molecules(options.molecules, calculator.potential.elements)
    together(molecules[:10], calculator, settings)  # tables of the elements, caches
    places = np.linspace(0, len(molecules) - 1, min(options.sample, len(molecules))).astype(int)

    def one_at_a_time() -> list[RelaxResult]:
        return [relax(molecules[i], calculator=calculator, settings=settings) for i in places]

    chosen = [molecules[i] for i in places]
    watch = Stopwatch(calculator.potential)
    by_ase = watch.measure(lambda: with_ase(chosen, calculator, settings))
    alone = watch.measure(one_at_a_time)
    many = watch.measure(lambda: together(molecules, calculator, settings))
    print(machine())
    print(
        f"{len(molecules)} molecules ({source}), {np.mean([len(a) for a in molecules]):.0f} atoms "
        f"each, {options.optimizer} to fmax {options.fmax:g} eV/Å, evaluation "
        f"{calculator.evaluation}, {options.threads} thread(s), load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':>14} molecules evaluations  converged  CPU ms each  wall ms each  wall in forces")
    ways = {"ASE's LBFGS": by_ase, "one at a time": alone, "together": many}
    for name, way in ways.items():
        print(way.row(name))
    # The sample may need more evaluations or have more atoms than the rest.
    sampled = [many.results[i] for i in places]
    work = [
        sum((r.steps + 1) * len(r.atoms) for r in results) for results in (sampled, many.results)
    ]
    for name in ("ASE's LBFGS", "one at a time"):
        way, scale = ways[name], work[1] / work[0]
        print(
            f"together against {name}: CPU time / {scale * way.cpu / many.cpu:.2f}, "
            f"wall time / {scale * way.wall / many.wall:.2f}"
        )
    print(f"energies against {len(chosen)} of ASE's: {lower(alone.results, by_ase.results)}")
    print(compare(sampled, alone.results))


if __name__ == "__main__":
    main()
