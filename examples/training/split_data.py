"""Split the sets that the configurations here train on: train, valid and test files as extxyz.

What the set marks as test stays test. The validation set is a part of what it marks as train:
whole groups of neighboring frames of one kind and composition, so that steps of one trajectory stay
together::

    python examples/training/split_data.py metals --data FOLDER --output FOLDER/splits
    TDNCALC_DATA=FOLDER/splits tdn train examples/training/metals.yaml
"""

import argparse
import lzma
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Part:
    """One set: its file, how its ``split`` key names train and test sets, and what to hold out.

    Attributes
    ----------
    source, name
        The file, and the first part of the names of the files to write.
    train
        Value of ``split`` of the structures to learn from.
    test
        Values of ``split`` of test sets by the last part of their files' names.
    valid
        Part of the training structures to validate on.
    group
        Neighboring frames that are held out together.
    tested
        Part to test on, of a set that marks none as test.
    exchanged
        Pattern of the ``config_type`` of frames whose stress has yz and xz exchanged; it is put
        right.
    """

    source: str
    name: str
    train: str
    test: dict[str, str]
    valid: float = 0.1
    group: int = 1
    tested: float = 0.0
    exchanged: str = ""


# Where σyz and σxz of mlearn are exchanged: a crystal sheared in the plane of y and z has a stress
# there in Li, and in the strained crystals of Si and Ge, and in the plane of x and z in the others.
_ALL, _THERMAL = r".", r"^(?!.*Elastic)"
_MLEARN = {"Li": "", "Ni": _ALL, "Cu": _ALL, "Mo": _ALL, "Si": _THERMAL, "Ge": _THERMAL}
_RMD17 = ("aspirin", "azobenzene", "benzene", "ethanol", "malonaldehyde")
_RMD17 += ("naphthalene", "paracetamol", "salicylic", "toluene", "uracil")
_TEST = {"test": "test"}
SETS = {
    "metals": [
        *(
            Part(f"mlearn/{e}.extxyz.xz", f"mlearn-{e}", "train", _TEST, group=8, exchanged=kinds)
            for e, kinds in _MLEARN.items()
        ),
        Part("MoNbTaW/MoNbTaW.extxyz.xz", "MoNbTaW", "train", _TEST, group=8),
    ],
    "acac": [
        Part(
            "acac/all.extxyz.xz",
            "acac",
            "train_300K",
            {"test-300K": "test_MD_300K", "test-600K": "test_MD_600K"},
        )
    ],
    # the public test sets are not at hand: the other temperatures of the mixed training set
    "3bpa": [Part("3bpa/train.extxyz.xz", "3bpa", "train_300K", {"mixed": "train_mixedT"})],
    "ethanol-methanol": [
        Part("ethanol_methanol/all.extxyz.xz", "ethanol", "train", {"test": "test_MD"}, 0.05),
        Part(
            "ethanol_methanol/all.extxyz.xz",
            "methanol",
            "train_eth_meth",
            {"test": "test_eth_meth"},
        ),
    ],
    # frames of one trajectory: blocks of it stay together, and those that are tested are no others
    "water": [
        Part("water/deepmd_pbe0_water.extxyz.xz", "water", "", {}, valid=0.1, group=10, tested=0.2)
    ],
    "rmd17": [
        Part(f"rmd17/{name}.extxyz.xz", f"rmd17-{name}", "train_01", {"test": "test_01"}, 0.05)
        for name in _RMD17
    ],
}


def main() -> None:
    """Write the files of the sets that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=list(SETS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the files")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for part in (part for name in options.sets for part in SETS[name]):
        for ending, texts in split(part, options.data).items():
            path = options.output / f"{part.name}-{ending}.extxyz"
            path.write_text("".join(texts))
            print(f"{path}: {len(texts)} structures")


def split(part: Part, folder: Path) -> dict[str, list[str]]:
    """Return the frames of a set, as text, by the ending of the file they belong to."""
    by_split = defaultdict(list)
    for frame in frames_of(folder / part.source):
        if part.exchanged and re.search(part.exchanged, _value(frame, "config_type")):
            frame = exchange_shear(frame)
        by_split[_value(frame, "split")].append(frame)
    train = by_split[part.train]
    tests = {ending: by_split[other] for ending, other in part.test.items()}
    if part.tested:
        train, tests["test"] = hold_out(train, part.tested, part.group)
    train, valid = hold_out(train, part.valid, part.group)
    return {"train": train, "valid": valid, **tests}


def hold_out(frames: list[str], fraction: float, group: int) -> tuple[list[str], list[str]]:
    """Split off a fraction of the frames in whole groups, of every kind about as much."""
    kinds = defaultdict(list)
    for index, frame in enumerate(frames):
        kinds[_value(frame, "config_type"), _composition(frame)].append(index)
    rng = np.random.default_rng(0)
    groups = [
        places[start : start + group]
        for places in kinds.values()
        for start in range(0, len(places), group)
    ]
    # groups in the order of the kinds, and one of each few in a row: every kind has its share
    step = round(1 / fraction)
    chosen = {
        index
        for start in range(0, len(groups), step)
        for index in groups[min(start + int(rng.integers(step)), len(groups) - 1)]
    }
    return (
        [frame for index, frame in enumerate(frames) if index not in chosen],
        [frame for index, frame in enumerate(frames) if index in chosen],
    )


def exchange_shear(frame: str) -> str:
    """Return the text of a frame with yz and xz of its stress exchanged."""
    count, comment, atoms = frame.split("\n", 2)

    def exchanged(found: re.Match[str]) -> str:
        xx, xy, xz, _, yy, yz, _, _, zz = found[1].split()
        return f'stress="{" ".join((xx, xy, yz, xy, yy, xz, yz, xz, zz))}"'

    return "\n".join((count, re.sub(r'stress="([^"]*)"', exchanged, comment), atoms))


def frames_of(path: Path) -> Iterator[str]:
    """Yield the text of each frame of a compressed extxyz file."""
    with lzma.open(path, "rt") as file:
        while (count := file.readline()).strip():
            yield count + "".join(file.readline() for _ in range(int(count) + 1))


def _value(frame: str, key: str) -> str:
    found = re.search(rf"\b{key}=(\S+)", frame.split("\n", 2)[1])
    return found[1] if found else ""


def _composition(frame: str) -> tuple[str, ...]:
    return tuple(sorted(line.split(maxsplit=1)[0] for line in frame.splitlines()[2:]))


if __name__ == "__main__":
    main()
