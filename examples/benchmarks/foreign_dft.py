"""Tell how far the models are from density functional theory that others computed.

Takes the neutral structures with paired electrons of extended XYZ files (packed with xz or not) and
compares the forces of each model as they are, and its energies after reference energies of the
elements are fitted to the difference, since no two levels of theory share them. Nothing of these
files was trained on.

    python foreign_dft.py FILE.extxyz.xz [FILE ...] [--models organic organic-dft]
"""

import argparse
import io
import lzma
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from tdncalc import Potential, load_model


def neutral(path: Path, elements: tuple[str, ...]) -> list[Atoms]:
    """Return the structures of a file that a model is for."""
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt") as file:
        frames = read(io.StringIO(file.read()), ":", format="extxyz")
    return [
        atoms
        for atoms in frames
        if set(atoms.symbols) <= set(elements)
        and atoms.info.get("charge", 0) == 0
        and atoms.numbers.sum() % 2 == 0
    ]


def compare(potential: Potential, frames: list[Atoms]) -> dict[str, float]:
    """Return the errors of forces in meV/Å and energies in meV/atom, and the forces' cosine."""
    results = potential.evaluate(frames, properties=("energy", "forces", "novelty"))
    true = np.concatenate([atoms.get_forces() for atoms in frames])
    found = np.concatenate([result["forces"] for result in results])
    sizes = np.array([len(atoms) for atoms in frames])
    counts = np.array(
        [[atoms.symbols.count(e) for e in potential.elements] for atoms in frames], float
    )
    difference = [
        result["energy"] - atoms.get_potential_energy()
        for atoms, result in zip(frames, results, strict=True)
    ]
    per_atom = np.array(difference) / sizes
    shares = counts / sizes[:, None]
    left = per_atom - shares @ np.linalg.lstsq(shares, per_atom, rcond=None)[0]
    return {
        "forces_MAE": 1000 * np.abs(found - true).mean(),
        "cosine": (found * true).sum() / np.sqrt((found**2).sum() * (true**2).sum()),
        "energy_MAE": 1000 * np.abs(left).mean(),
        "novel": np.mean([result["novelty"] > 1 for result in results]),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=["organic", "organic-dft"])
    args = parser.parse_args()
    print(
        "| set | structures | mean force (meV/Å) | model | F MAE (meV/Å) | cosine |"
        " E MAE after the fit (meV/atom) | novelty above 1 |\n"
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    )
    for path in args.files:
        for name in args.models:
            potential = load_model(name)
            frames = neutral(path, potential.elements)
            forces = np.concatenate([atoms.get_forces() for atoms in frames])
            errors = compare(potential, frames)
            print(
                f"| {path.name.split('.')[0]} | {len(frames)} | {1000 * np.abs(forces).mean():.0f}"
                f" | {name} | {errors['forces_MAE']:.0f} | {errors['cosine']:.3f}"
                f" | {errors['energy_MAE']:.1f} | {errors['novel']:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
