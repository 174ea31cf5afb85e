"""Compute crystals under pressure and shear with PBE, where a set of crystals has no stress.

Copper and nickel of mlearn have energies of crystals stretched along one axis or sheared, and no
stress: from these no bulk modulus can be learned. Lithium's shear stress there contradicts its
energies. Crystals with energy and stress say it in a few numbers. Needs GPAW
(https://gpaw.readthedocs.io); half a minute per crystal under pressure, a few for the others, on
one core, and more for nickel, which is magnetic::

    python examples/training/strained_metals.py Cu .runs/splits/strained-Cu.extxyz
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from gpaw import GPAW, PW, FermiDirac, MixerSum

# Lattice constant of PBE (Å), energy of the plane waves (eV), k-points along an axis, moment (μB).
SETTINGS = {"Cu": (3.636, 800, 14, 0.0), "Ni": (3.520, 1000, 12, 0.65), "Li": (3.430, 600, 14, 0.0)}
SETUPS = {"Ni": "10"}  # that with 16 electrons gives a lattice constant 0.4 % too large
PRESSED = (-0.03, -0.015, 0.0, 0.015, 0.03)  # along all axes; copper's are nine, to 0.04
STRETCHED = (-0.03, 0.03)  # along one
SHEARED = (-0.03, 0.03)  # all three angles at once, which leaves the most symmetry


def main() -> None:
    """Write one structure after the other; those that the file has are not computed again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("element", choices=SETTINGS)
    parser.add_argument("output", type=Path, help="an extended XYZ file")
    options = parser.parse_args()
    deformations = [np.eye(3) * (1 + e) for e in PRESSED]
    deformations += [np.diag([1, 1, 1 + e]) for e in STRETCHED]
    deformations += [np.eye(3) + e * (1 - np.eye(3)) for e in SHEARED]
    done = len(read(options.output, ":")) if options.output.exists() else 0
    for deformation in deformations[done:]:
        atoms = computed(options.element, deformation)
        write(options.output, atoms, append=True)
        pressure = -atoms.get_stress()[:3].mean() * 160.21766
        print(f"{atoms.get_volume():.3f} Å³  {pressure:.2f} GPa", flush=True)


def computed(element: str, deformation: np.ndarray) -> Atoms:
    """Return a conventional cell under a deformation (3, 3), with energy, forces and stress."""
    lattice, waves, points, moment = SETTINGS[element]
    primitive, atoms = (_deformed(bulk(element, a=lattice, cubic=c), deformation) for c in (0, 1))
    primitive.set_initial_magnetic_moments([moment])
    primitive.calc = GPAW(
        mode=PW(waves),
        xc="PBE",
        kpts={"size": (points,) * 3, "gamma": True},
        occupations=FermiDirac(0.1),
        convergence={"density": 1e-6},
        setups=SETUPS,
        txt=None,
        **({"mixer": MixerSum(0.25, 5, 20)} if moment else {}),
    )
    energy, stress = len(atoms) * primitive.get_potential_energy(), primitive.get_stress()
    forces = np.zeros((len(atoms), 3))  # by symmetry
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    return atoms


def _deformed(atoms: Atoms, deformation: np.ndarray) -> Atoms:
    atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
    return atoms


if __name__ == "__main__":
    main()
