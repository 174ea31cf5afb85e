"""Put a small part of a test set beside a bundled model, and its errors on that into its card.

::

    python examples/training/bundle_sample.py models/organic FOLDER/gfn2/test.npz
    python examples/training/bundle_sample.py models/organic

The second form keeps the structures that are there and measures again: run it whenever the weights
change, since the tests compare the two. Of every kind of structure so many are taken as it has in
the whole set, evenly spaced. Molecules become a packed shard, crystals a compressed extxyz file.
"""

import argparse
import lzma
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tdncalc.checkpoint import add_errors, load_model
from tdncalc.training.data import load_frames
from tdncalc.training.evaluate import evaluate
from tdncalc.training.frames import Frames


def main() -> None:
    """Choose and write, if told of what; measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("data", nargs="*", type=Path, help="test set to choose from")
    parser.add_argument("--count", type=int, default=80, help="about so many structures")
    options = parser.parse_args()
    if options.data:
        frames = load_frames([str(path.absolute()) for path in options.data], Path())
        save(options.model, frames.take(choose(frames, options.count)))
    (sample,) = options.model.glob("sample.*")
    model = load_model(options.model, device="cpu", evaluation="eager")
    report = evaluate(model, [sample.absolute()])
    figures = {key: value for key, value in report.items() if not key.startswith("by_")}
    add_errors(options.model, "sample", {"data": [sample.name], **figures})
    print(f"{sample}: {figures}")


def save(folder: Path, frames: Frames) -> None:
    """Replace the sample of a model."""
    for old in folder.glob("sample.*"):
        old.unlink()
    if frames.pbc.any():
        save_extxyz(folder / "sample.extxyz.xz", frames)
    else:
        save_shard(folder / "sample.npz", frames)


def choose(frames: Frames, count: int) -> list[int]:
    """Return about so many places, of every kind its share and one at least."""
    chosen: list[int] = []
    for kind in np.unique(frames.kind):
        places = np.flatnonzero(frames.kind == kind)
        share = max(1, round(min(count, len(frames)) * len(places) / len(frames)))
        chosen += places[np.linspace(0, len(places) - 1, share).astype(int)].tolist()
    return sorted(chosen)


def save_shard(path: Path, frames: Frames) -> None:
    """Write molecules in thousandths of Å and eV/Å, as the shards are."""
    np.savez_compressed(
        path,
        n=frames.n_atoms().astype(np.uint16),
        z=frames.numbers.astype(np.uint8),
        x=np.round(1000 * frames.positions).astype(np.int16),
        e=frames.energy,
        f=np.round(1000 * frames.forces).astype(np.int16),
        kind=frames.kind,
    )


def save_extxyz(path: Path, frames: Frames) -> None:
    """Write structures with cell and, where it is known, stress."""
    images = []
    for index in range(len(frames)):
        atoms = frames.atoms(index)
        rows = slice(frames.starts[index], frames.starts[index + 1])
        labels = {"energy": frames.energy[index], "forces": frames.forces[rows]}
        if np.isfinite(frames.stress[index]).all():
            labels["stress"] = frames.stress[index]
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["config_type"] = str(frames.kind[index])
        images.append(atoms)
    with lzma.open(path, "wt") as file:
        write(file, images, format="extxyz")


if __name__ == "__main__":
    main()
