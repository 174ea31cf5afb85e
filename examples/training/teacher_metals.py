"""Make crystals, slabs, melts and alloys of the elements of ``metals``, labeled by CHGNet.

Where DFT of an element is scarce, a network that first learned much of a cheaper level of theory
overfits less. Structures are snapshots of molecular dynamics of ``metals``, of several crystal
structures, compressed, stretched and sheared, with vacancies and surfaces, from 300 K to beyond the
melting point. Energies, forces and stresses are those of CHGNet 0.3.0 (Deng et al., Nat. Mach.
Intell. 5, 1031 (2023); modified BSD licence, weights from the Materials Project's relaxations),
which ``pip install chgnet`` brings along. A quarter of an hour on one core::

    python examples/training/teacher_metals.py .runs/splits/teacher.extxyz
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from chgnet.model import CHGNetCalculator
from distilled_data import heated

from tdncalc import TDNCalculator

# Volume per atom with PBE (Å³) in the densest structure named, those structures, melting point (K).
ELEMENTS = {
    "Li": (20.3, ("bcc", "fcc", "hcp"), 450),
    "Si": (20.4, ("diamond", "diamond", "sc", "bcc", "fcc"), 1690),
    "Ni": (10.9, ("fcc", "fcc", "bcc", "hcp"), 1730),
    "Cu": (12.0, ("fcc", "fcc", "bcc", "hcp"), 1360),
    "Ge": (23.9, ("diamond", "diamond", "sc", "bcc", "fcc"), 1210),
    "Nb": (18.3, ("bcc", "bcc", "fcc", "hcp"), 2750),
    "Mo": (15.8, ("bcc", "bcc", "fcc", "hcp"), 2900),
    "Ta": (18.3, ("bcc", "bcc", "fcc", "hcp"), 3290),
    "W": (16.1, ("bcc", "bcc", "fcc", "hcp"), 3700),
}
ALLOYED = ("Nb", "Mo", "Ta", "W")
DENSER = {"diamond": 1.0, "sc": 0.80, "bcc": 0.74, "fcc": 0.74}  # volumes beside diamond's
STEPS = (80, 160)  # of 2 fs, after which a snapshot is taken
LARGEST_FORCE = 15.0  # eV/Å


def main() -> None:
    """Append each structure to the file as soon as it is labeled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="an extended XYZ file")
    parser.add_argument("--runs", type=int, default=110, help="for each element; twice for alloys")
    parser.add_argument("--model", default="metals", help="whose dynamics makes the structures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    dynamics = TDNCalculator(options.model)
    teacher = CHGNetCalculator(use_device="cpu")
    kinds = [[symbol] for symbol in ELEMENTS for _ in range(options.runs)]
    kinds += [list(ALLOYED) for _ in range(2 * options.runs)]
    for number in rng.permutation(len(kinds)):
        for atoms in _snapshots(_crystal(kinds[number], rng), dynamics, rng):
            labeled = _labeled(atoms, teacher)
            if np.abs(labeled.get_forces()).max() < LARGEST_FORCE:
                write(options.output, labeled, append=True)


def _crystal(symbols: list[str], rng: np.random.Generator) -> Atoms:
    """Return 16 to 60 atoms of a deformed crystal, at times with vacancies or two surfaces."""
    present = rng.choice(symbols, size=rng.integers(1, len(symbols) + 1), replace=False)
    volume, structures, _ = ELEMENTS[present[0]]
    structure = str(rng.choice(structures))
    if structures[0] == "diamond":
        volume *= DENSER[structure]
    crystal = bulk("X", structure, a=1.0, cubic=structure != "hcp", **_ratio(structure))
    repeats = max(1, round((rng.uniform(16, 60) / len(crystal)) ** (1 / 3)))
    shape = [repeats] * 3
    shape[2] += int(rng.integers(0, 2))
    atoms = make_supercell(crystal, np.diag(shape))
    atoms.set_chemical_symbols(list(rng.choice(present, size=len(atoms))))
    stretch = (volume * rng.uniform(0.85, 1.2) * len(atoms) / atoms.get_volume()) ** (1 / 3)
    strain = rng.normal(scale=0.025, size=(3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2) * stretch, scale_atoms=True)
    if rng.random() < 0.3:
        del atoms[rng.choice(len(atoms), size=rng.integers(1, 3), replace=False)]
    if rng.random() < 0.25:
        atoms.center(vacuum=rng.uniform(3, 6), axis=int(rng.integers(0, 3)))
    return atoms


def _ratio(structure: str) -> dict[str, float]:
    return {"c": np.sqrt(8 / 3)} if structure == "hcp" else {}


def _snapshots(atoms: Atoms, dynamics: TDNCalculator, rng: np.random.Generator) -> list[Atoms]:
    """Return a structure's snapshots at a temperature from 300 K to twice its melting point."""
    melting = np.mean([ELEMENTS[symbol][2] for symbol in atoms.symbols])
    temperature = rng.uniform(300, 2 * melting)
    atoms.calc = dynamics
    run = heated(atoms, temperature, rng)
    snapshots = []
    for steps in np.diff([0, *STEPS]):
        run.run(int(steps))
        snapshots.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    return snapshots


def _labeled(atoms: Atoms, teacher: CHGNetCalculator) -> Atoms:
    atoms.calc = teacher
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


if __name__ == "__main__":
    main()
