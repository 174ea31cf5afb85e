"""Packed shards: npz files of integers, for millions of small molecules."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tdncalc.errors import DataError
from tdncalc.training.frames import Frames

__all__ = ["read"]

_ARRAYS = ("n", "z", "x", "e", "f", "kind")
_NUMBERS = np.arange(1, 119)


def read(path: Path) -> Frames:
    """Read a packed shard: n, z, x (0.001 Å), e (eV), f (0.001 eV/Å), kind."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
            if missing := [key for key in _ARRAYS if key not in shard]:
                raise ValueError(
                    f"it has {', '.join(shard)} but no {missing[0]}; it needs "
                    f"{', '.join(_ARRAYS)}, so convert other data to extxyz"
                )
            n, z, x, e, f, kind = (shard[key] for key in _ARRAYS)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: not a packed shard ({error})") from error
    size, places = n.size, (z.size, 3)
    flat = all(array.ndim == 1 for array in (n, z, e, kind)) and n.sum() == z.size
    if not flat or not (e.size == kind.size == size and x.shape == f.shape == places):
        raise DataError(f"{path}: the arrays of the shard do not fit each other")
    if not np.isin(z, _NUMBERS).all():
        raise DataError(f"{path}: z holds what is no atomic number, 1 to {_NUMBERS[-1]}")
    return Frames(
        starts=np.concatenate([[0], np.cumsum(n.astype(np.int64))]),
        numbers=z.astype(np.int64),
        positions=x / 1000.0,
        forces=f / 1000.0,
        energy=e.astype(np.float64),
        cell=np.zeros((size, 3, 3)),
        pbc=np.zeros((size, 3), dtype=bool),
        stress=np.full((size, 3, 3), np.nan),
        kind=kind.astype(np.str_),
        level=np.zeros(size, dtype=np.int64),
    )
