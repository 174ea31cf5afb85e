"""Make structures near those of a training set, labeled by the mean of several models.

Networks that learned the same few structures from different starts err differently where they have
seen nothing: their mean has smaller errors than any of them, and a single network can learn it (G.
Hinton, O. Vinyals and J. Dean, arXiv:1503.02531). Each structure is one of the given after a short
run of molecular dynamics of the first model, at a temperature that is drawn for it. Dropped are
those that the models contradict each other about, and those with atoms closer together, or forces
larger, than in the training set. A thousand in two minutes on one core::

    python examples/training/distilled_data.py .runs/splits/distilled-1.extxyz \
        --models metals .runs/metals-b/model .runs/metals-c/model \
        --structures .runs/splits/mlearn-Cu-train.extxyz .runs/splits/mlearn-Ni-train.extxyz \
        --trained .runs/splits/*-train.extxyz
"""

import argparse
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from tdncalc import Potential, TDNCalculator, load_model

STEPS = (20, 120)  # of 2 fs, at least and at most
DISAGREEMENT = 0.3  # of the root mean square force, plus
FLOOR = 0.05  # eV/Å


def main() -> None:
    """Append to the file, and say how many were written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="an extended XYZ file")
    parser.add_argument("--models", nargs="+", required=True, help="names or folders")
    parser.add_argument("--structures", nargs="+", type=Path, required=True)
    parser.add_argument("--trained", nargs="+", type=Path, required=True, help="the training set")
    parser.add_argument("--number", type=int, help="of structures; without, the given as they are")
    parser.add_argument("--kelvin", nargs=2, type=float, default=(300, 3000), help="from and to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    models = [load_model(name) for name in options.models]
    limits = _largest_forces(options.trained)
    starts = [atoms for path in options.structures for atoms in read(path, ":")]
    if options.number is not None:
        dynamics = TDNCalculator(options.models[0])
        chosen = rng.integers(0, len(starts), options.number)
        starts = [_moved(starts[k], dynamics, options.kelvin, rng) for k in chosen]
    starts = [atoms for atoms in starts if not _too_close(atoms, models[0])]
    kept = 0
    for first in range(0, len(starts), 16):
        labeled = _labeled(starts[first : first + 16], models, limits)
        kept += len(labeled)
        write(options.output, labeled, append=True)
    print(f"{kept} structures written")


def _largest_forces(paths: list[Path]) -> dict[str, float]:
    """Return the largest component of a force on an atom of each element, in eV/Å."""
    found: dict[str, float] = {}
    for atoms in (atoms for path in paths for atoms in read(path, ":")):
        for symbol, force in zip(atoms.symbols, np.abs(atoms.get_forces()).max(1), strict=True):
            found[symbol] = max(found.get(symbol, 0.0), float(force))
    return found


def _moved(
    atoms: Atoms, dynamics: TDNCalculator, kelvin: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    """Return a structure after dynamics at a temperature evenly drawn in its logarithm."""
    moving = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moving.calc = dynamics
    temperature = float(np.exp(rng.uniform(*np.log(kelvin))))
    heated(moving, temperature, rng).run(int(rng.integers(*STEPS)))
    moving.calc = None
    return moving


def heated(atoms: Atoms, temperature: float, rng: np.random.Generator) -> Langevin:
    """Return dynamics of atoms with a calculator at a temperature in K, in steps of 2 fs."""
    widths = np.sqrt(ase.units.kB * 1.5 * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(widths * rng.standard_normal((len(atoms), 3)))
    bath = {"temperature_K": temperature, "friction": 0.02 / ase.units.fs, "rng": rng}
    return Langevin(atoms, 2 * ase.units.fs, fixcm=False, **bath)


def _too_close(atoms: Atoms, model: Potential) -> bool:
    """Tell whether two atoms are closer than any two of their elements in the training set."""
    shortest = model.network.repulsion.shortest.numpy()  # (n_elements, n_elements) in Å
    places = np.array([model.elements.index(symbol) for symbol in atoms.symbols])
    first, second, distances = neighbor_list("ijd", atoms, float(shortest.max()))
    return bool((distances < shortest[places[first], places[second]]).any())


def _labeled(
    structures: list[Atoms], models: list[Potential], limits: dict[str, float]
) -> list[Atoms]:
    """Return copies of the structures with the models' means, but of those to drop."""
    labeled = []
    found = [model.evaluate(structures) for model in models]
    for atoms, own in zip(structures, zip(*found, strict=True), strict=True):
        means = {name: np.mean([one[name] for one in own], axis=0) for name in ("energy", "stress")}
        forces = np.array([one["forces"] for one in own])
        mean = forces.mean(axis=0)
        allowed = np.array([limits[symbol] for symbol in atoms.symbols])[:, None]
        if _contradict(forces) or (np.abs(mean) > allowed).any():
            continue
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        copy.calc = SinglePointCalculator(
            copy, energy=float(means["energy"]), forces=mean, stress=means["stress"]
        )
        labeled.append(copy)
    return labeled


def _contradict(forces: NDArray[np.float64]) -> bool:
    """Tell whether the forces (models, N, 3) spread too far."""
    mean = forces.mean(axis=0)
    spread = np.sqrt(np.square(forces - mean).mean())
    return bool(spread > DISAGREEMENT * np.sqrt(np.square(mean).mean()) + FLOOR)


if __name__ == "__main__":
    main()
