r"""Choose the structures of a test set that lie beside a bundled model, and are tested with it.

::

    python examples/training/bundle_sample.py FOLDER/gfn2/test.npz \
        --output models/organic/sample.npz
    tdn evaluate models/organic/sample.npz --model models/organic --card sample

The second command writes the errors that the tests then expect into the model's card: run it
whenever the weights change. Of every kind of structure so many are taken as it has in the whole
set, evenly spaced. Molecules become a packed shard, crystals an extxyz file.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tdncalc.training.data import load_frames
from tdncalc.training.frames import Frames


def main() -> None:
    """Choose and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="test set")
    parser.add_argument("--output", type=Path, required=True, help="*.npz or *.extxyz")
    parser.add_argument("--count", type=int, default=80, help="about so many structures")
    options = parser.parse_args()
    frames = load_frames([str(Path(name).absolute()) for name in options.data], Path())
    sample = frames.take(choose(frames, options.count))
    save = save_shard if options.output.suffix == ".npz" else save_extxyz
    save(options.output, sample)
    print(f"{options.output}: {len(sample)} of {len(frames)} structures")


def choose(frames: Frames, count: int) -> list[int]:
    """Return about so many places, of every kind its share and one at least."""
    chosen: list[int] = []
    for kind in np.unique(frames.kind):
        places = np.flatnonzero(frames.kind == kind)
        share = max(1, round(count * len(places) / len(frames)))
        chosen += places[np.linspace(0, len(places) - 1, share).astype(int)].tolist()
    return sorted(chosen)


def save_shard(path: Path, frames: Frames) -> None:
    """Write molecules in thousandths of Å and eV/Å, as the shards are."""
    if frames.pbc.any():
        raise SystemExit(f"{path}: a shard has no cells; write *.extxyz")
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
    write(path, images)


if __name__ == "__main__":
    main()
