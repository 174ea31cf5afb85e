"""PubChemQCR: relaxations of molecules, step by step (arXiv:2506.23008)."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import ase.units
import numpy as np
from ase.data import atomic_numbers

from tdncalc.errors import DataError
from tdncalc.training.frames import Structure
from tdncalc.training.reading.unpickling import load_plain

__all__ = ["decode"]

_DFT = ("DFT_1st", "DFT_2nd")
_STAGES = ("pm3", "hf", *_DFT)
_PARTS = ((0.6, "train"), (0.8, "valid"), (1.0, "test"))


def decode(key: bytes, value: bytes, label: str, wanted: Mapping[str, str]) -> Iterator[Structure]:
    """Yield the steps of one molecule's relaxations.

    The value is a gzip of a pickled dict of plain types: for each stage a list of steps with
    ``coordinates`` in Å, ``energy`` in hartree and ``gradient`` in hartree/bohr, of which the
    forces are the negative. Steps without one of them, or of another number of atoms, are passed
    over, and so is the first step of a stage that repeats the last of the one before at the same
    level. Both stages of DFT are read; ``#stage=hf`` takes another one.
    ``#split=train``, ``valid`` or ``test`` takes 60, 20 or 20 % of the molecules, by a checksum of
    their number: the published lists are not in the file.
    """
    try:
        stages = load_plain(gzip.decompress(value), label)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{label}: damaged ({error})") from error
    if not isinstance(stages, dict):
        raise DataError(f"{label}: holds a {type(stages).__name__}, not the stages of a relaxation")
    share = zlib.crc32(key) / 2**32
    split = next(name for limit, name in _PARTS if share < limit)
    chosen = (wanted["stage"],) if "stage" in wanted else _DFT
    last = None
    for stage in (name for name in _STAGES if name in chosen):
        for step in stages.get(stage) or []:
            found = _step(step, {"stage": stage, "split": split, "cid": key.decode()}, label)
            if found is not None and not _same(found, last):
                yield found
            last = found or last


def _step(step: Mapping[str, Any], info: dict[str, str], label: str) -> Structure | None:
    atoms, energy, gradient = (step.get(name) for name in ("coordinates", "energy", "gradient"))
    if not atoms or energy is None or not gradient or len(atoms) != len(gradient):
        return None
    try:
        numbers = [atomic_numbers[atom["atom"].capitalize()] for atom in atoms]
        positions = np.array([[atom[axis] for axis in "xyz"] for atom in atoms], dtype=np.float64)
        slopes = np.array([[atom[f"d{axis}"] for axis in "xyz"] for atom in gradient])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{label}: a step of {info['stage']} is not as described ({error})"
        ) from error
    return Structure(
        numbers=np.array(numbers),
        positions=positions,
        forces=-slopes * (ase.units.Hartree / ase.units.Bohr),
        energy=float(energy) * ase.units.Hartree,
        info=info,
        kind=info["stage"],
    )


def _same(one: Structure, other: Structure | None) -> bool:
    return (
        other is not None
        and one.energy == other.energy
        and np.array_equal(one.positions, other.positions)
    )
