"""Make structures by which a model that went on from another gets its bounds and novelty.

A model that learned much from one level of theory and went on with few structures of another knows
the kinds of structures of the first: its bounds and its novelty must be those of that training set,
whose labels are of another theory. Here they are replaced by what the model itself says plus the
error that the first model makes there, so that ``tdn models calibrate`` finds the first one's
errors at the features of the second::

    python examples/training/base_novelty.py MODEL FOLDER/gfn2/train-?.npz --output base.npz
    tdn models calibrate MODEL base.npz --held-out HELD_OUT
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import ase.data
import numpy as np
from gfn2_data import Row, write

from tdncalc import Potential, load_model
from tdncalc.training.data import load_frames
from tdncalc.training.frames import Frames

LARGEST = 32.0  # eV/Å, what a packed shard can hold


def main() -> None:
    """Evaluate both models and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the model that went on")
    parser.add_argument("data", type=Path, nargs="+", help="what the base was trained on")
    parser.add_argument("--base", default="organic")
    parser.add_argument("--limit", type=int, default=20_000, help="take so many, evenly spaced")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    model, base = load_model(options.model), load_model(options.base)
    frames = load_frames([str(path.absolute()) for path in options.data], Path())
    known = [ase.data.atomic_numbers[symbol] for symbol in model.elements]
    whole = frames.counts(known).sum(axis=1) == frames.n_atoms()
    frames = frames.take(np.flatnonzero(whole).tolist()).evenly(options.limit)
    write(options.output, [(*row, "base") for row in relabelled(frames, model, base)])


def relabelled(frames: Frames, model: Potential, base: Potential) -> Iterator[Row]:
    """Yield the structures with forces of the model and errors of its base."""
    some = [frames.atoms(i) for i in range(len(frames))]
    given = np.split(frames.forces, frames.starts[1:-1])
    own, others = (one.evaluate(some, properties=("energy", "forces")) for one in (model, base))
    for atoms, true, result, other in zip(some, given, own, others, strict=True):
        forces = np.asarray(result["forces"]) + true - np.asarray(other["forces"])
        if np.abs(forces).max() < LARGEST:
            yield atoms.numbers, atoms.positions, result["energy"], forces, "?"


if __name__ == "__main__":
    main()
