"""Compute frames of liquid water with a density functional, for ``water``.

revPBE with the dispersion of D3, in the basis TZV2P with pseudopotentials, whose liquid is close to
the real one at its temperature (Galib et al., J. Chem. Phys. 146, 244501, 2017; Marsalek and
Markland, J. Phys. Chem. Lett. 8, 1545, 2017). A model moves 32 molecules, cold and hot, dense and
loose, a fifth of the boxes with a free surface, and CP2K computes energy, forces and stress of two
frames of each dynamics, half a picosecond apart. Needs CP2K (``apt install cp2k``)::

    python examples/training/liquid_water.py --output part.extxyz --seed 1 --structures 40

Two minutes of one core and 3 to 5 GB a frame. Each is written as soon as it is done, and another
start goes on from there. With a cutoff of 400 Ry the forces would change by 37 meV/Å on average
when all atoms are moved against the grid of the density, all of it on oxygen; hence 800 Ry.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.cp2k import CP2K
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import Rydberg
from water_clusters import VOLUME, heated, packed

from tdncalc import TDNCalculator

BASIS, CUTOFF = "TZV2P-GTH", 800 * Rydberg
INPUT = """
&FORCE_EVAL
  &DFT
    &QS
      EPS_DEFAULT 1.0E-10
    &END
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF 2.0E-6
      &DIAGONALIZATION
        ALGORITHM STANDARD
      &END
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.4
        NBUFFER 8
      &END
    &END
    &XC
      &XC_FUNCTIONAL
        &PBE
          PARAMETRIZATION revPBE
        &END
      &END
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL revPBE
          R_CUTOFF 15
        &END
      &END
    &END
  &END
&END
"""
TEMPERATURES = (280, 300, 330, 370, 450, 600)  # K
SWELLINGS = (0.83, 0.92, 0.97, 1.0, 1.03, 1.1, 1.25)  # of the volume
SURFACE = 0.2  # of the boxes have one
GAP = 8.0  # Å above it
SETTLING, BETWEEN = 3000, 1000  # steps of 0.5 fs
FRAMES = 2  # of each dynamics


def main() -> None:
    """Compute one structure after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="an extended XYZ file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--structures", type=int, default=40)
    parser.add_argument("--model", default="organic-dft", help="what moves the molecules")
    options = parser.parse_args()
    number = len(read(options.output, ":")) if options.output.exists() else 0
    rng = np.random.default_rng([options.seed, number])  # going on: other structures
    for atoms in drawn(rng, TDNCalculator(model=options.model)):
        if number >= options.structures:
            break
        labelled = computed(atoms)
        write(options.output, labelled, append=True)  # at once: nothing is lost
        number += 1
        print(f"{number}: {labelled.info['kind']}, {len(atoms)} atoms", flush=True)


def drawn(rng: np.random.Generator, calculator: TDNCalculator) -> Iterator[Atoms]:
    """Yield frames of one dynamics after the other, without end."""
    while True:
        temperature, swelling = rng.choice(TEMPERATURES), rng.choice(SWELLINGS)
        edge = (32 * swelling * VOLUME) ** (1 / 3)
        places = bulk("X", "fcc", a=edge / 2, cubic=True).repeat(2).positions
        box = packed(places, edge, rng)
        kind = "liquid"
        if rng.random() < SURFACE:
            box.cell[2, 2] += GAP
            kind = "surface"
        box.calc = calculator
        dynamics = heated(box, temperature, rng)
        dynamics.run(SETTLING)
        for _ in range(FRAMES):
            dynamics.run(BETWEEN)
            frame = Atoms(box, info={"kind": kind, "K": int(temperature)})
            frame.wrap()
            yield frame


def computed(atoms: Atoms) -> Atoms:
    """Return a structure with its energy, forces and stress."""
    labelled = atoms.copy()
    with (
        tempfile.TemporaryDirectory() as folder,
        CP2K(
            label=f"{folder}/water",
            command="cp2k_shell.psmp",
            basis_set_file="GTH_BASIS_SETS",
            basis_set=BASIS,
            pseudo_potential="GTH-PBE",
            potential_file="GTH_POTENTIALS",
            cutoff=CUTOFF,
            xc=None,
            inp=INPUT,
        ) as cp2k,
    ):
        cp2k.calculate(atoms, ["energy"])
        found = {name: cp2k.results[name] for name in ("energy", "forces", "stress")}
    found["forces"] -= found["forces"].mean(axis=0)  # what the grid adds
    labelled.calc = SinglePointCalculator(labelled, **found)
    return labelled


if __name__ == "__main__":
    main()
