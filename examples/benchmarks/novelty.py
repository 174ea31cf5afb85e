"""Measure how well a model's novelty ranks its errors and tells foreign chemistry.

Spearman's rank correlation with the true force error on held-out structures, and for sets of other
structures the area under the ROC curve against these: the chance that one of them has a larger
novelty than a held-out molecule. The data are looked for in ``--data`` (default TDNCALC_DATA); sets
that are not there are left out. Nothing here was used to fit the novelty.

    python novelty.py [--model organic] [--test gfn2/test.npz] [--data FOLDER]
"""

import argparse
import io
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, graphene, molecule, nanotube
from ase.collections import g2
from ase.io import iread
from scipy.stats import mannwhitneyu

from tdncalc import Potential, load_model
from tdncalc.training.calibration import judge
from tdncalc.training.data import load_frames

# Lattice constants in Å of crystals that exist, and of simple cubic ones that do not.
CRYSTALS = {
    "diamond": {"C": 3.567, "Si": 5.431},
    "zincblende": {"SiC": 4.36, "BN": 3.615, "BP": 4.538},
    "sc": {"H": 1.7, "B": 2.2, "C": 2.1, "N": 2.2, "O": 2.2, "P": 2.4, "S": 2.6, "I": 3.3},
}
CRUSHED = 0.82  # of the length of a crystal's axes


def read_xz(path: Path, limit: int = 1000) -> list[Atoms]:
    """Read at most so many structures, evenly spaced; none if there is no such file."""
    if not path.exists():
        return []
    with lzma.open(path, "rt") as file:
        frames = list(iread(io.StringIO(file.read()), index=":", format="extxyz"))
    return frames[:: max(1, len(frames) // limit)]


def solids() -> Iterator[Atoms]:
    """Carbon in other forms, and crystals of bonds that no molecule has, shaken."""
    rng = np.random.default_rng(0)
    crystals = [
        bulk(name, kind, a).repeat(2) for kind, some in CRYSTALS.items() for name, a in some.items()
    ]
    sheets = [graphene(size=(2, 2, 1), vacuum=10), nanotube(6, 0, length=2, vacuum=5)]
    for start in [*crystals, *sheets, molecule("C60")]:
        for scale in (0.95, 1.0, 1.05):
            atoms = start.copy()
            atoms.set_cell(atoms.cell * scale)
            atoms.positions *= scale
            atoms.rattle(0.03, rng=rng)
            yield atoms


def g2_molecules(*, open_shell: bool) -> list[Atoms]:
    """Return the molecules of the G2 set with or without unpaired electrons."""
    found = [molecule(name) for name in g2.names]
    return [
        atoms
        for atoms in found
        if len(atoms) > 1 and atoms.get_initial_magnetic_moments().any() == open_shell
    ]


def crushed(crystals: list[Atoms]) -> list[Atoms]:
    """Return crystals under a pressure of many GPa."""
    squeezed = [atoms.copy() for atoms in crystals]
    for atoms in squeezed:
        atoms.set_cell(CRUSHED * atoms.cell, scale_atoms=True)
    return squeezed


def sets(data: Path) -> tuple[dict[str, list[Atoms]], dict[str, list[Atoms]]]:
    """Return what is foreign to neutral organic molecules, and what may or may not be."""
    accuracy = data / "dft_accuracy"
    charged = read_xz(accuracy / "aimnet2.extxyz.xz")
    crystals = [a for a in read_xz(data / "molcrys" / "molcrys.extxyz.xz", 150) if a.pbc.all()]
    foreign = {
        "ions (AIMNet2)": [a for a in charged if a.info["charge"] != 0],
        "radicals (G2)": g2_molecules(open_shell=True),
        "covalent and elemental solids": list(solids()),
        "crushed molecular crystals": crushed(crystals),
    }
    between = {
        "neutral, 14 elements (AIMNet2)": [a for a in charged if a.info["charge"] == 0],
        "closed-shell (G2)": g2_molecules(open_shell=False),
        "reaction paths (Transition1x)": read_xz(accuracy / "transition1x.extxyz.xz"),
        "ANI-1x": read_xz(accuracy / "ani_1x_tz.extxyz.xz"),
        "molecular crystals (X23)": crystals,
    }
    return foreign, between


def novelties(potential: Potential, structures: list[Atoms]) -> np.ndarray:
    """Return the novelty of each structure of elements that the model knows."""
    known = [atoms for atoms in structures if set(atoms.symbols) <= set(potential.elements)]
    results = potential.evaluate(known, properties=("novelty",))
    return np.array([one["novelty"] for one in results])


def area(ordinary: np.ndarray, others: np.ndarray) -> float:
    """Return the area under the ROC curve by which the others are told from the ordinary."""
    return float(mannwhitneyu(others, ordinary).statistic / len(others) / len(ordinary))


def row(name: str, values: np.ndarray, auc: float) -> str:
    """Return a line of the table."""
    above = f"{(values > 1).mean():.0%}"
    return f"| {name} | {len(values)} | {np.median(values):.2f} | {above} | {auc:.3f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="organic")
    parser.add_argument("--test", default="gfn2/test.npz")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TDNCALC_DATA") or "."))
    options = parser.parse_args()
    potential = load_model(options.model, device="cpu")
    potential.settle(wait=True)
    if potential.novelty is None:
        parser.error(f"model {options.model!r} has no novelty; see 'tdn models calibrate --help'")
    frames = load_frames([options.test], options.data)
    ranks = judge(potential, frames)
    print(f"{options.test}: {ranks['structures']} structures, {ranks['above_1']:.1%} above 1")
    print(f"Spearman with the force error: {ranks['spearman']:.3f} of structures, ", end="")
    print(f"{ranks['spearman_atoms']:.3f} of atoms\n")
    ordinary = novelties(potential, [frames.atoms(i) for i in range(len(frames))])
    foreign, between = (
        {name: novelties(potential, some) for name, some in part.items() if some}
        for part in sets(options.data)
    )
    print("| set | structures | median novelty | above 1 | area under the ROC |")
    print("| --- | --- | --- | --- | --- |")
    print(row("held-out molecules", ordinary, 0.5))
    together = np.concatenate(list(foreign.values()))
    print(row("**all foreign**", together, area(ordinary, together)))
    for name, values in (foreign | between).items():
        print(row(name, values, area(ordinary, values)))


if __name__ == "__main__":
    main()
