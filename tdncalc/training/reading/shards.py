"""Packed shards: npz files of integers, for millions of small molecules."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tdncalc.errors import DataError
from tdncalc.training.frames import Frames

__all__ = ["read"]


def read(path: Path) -> Frames:
    """Read a packed shard: n, z, x (0.001 Å), e (eV), f (0.001 eV/Å), kind."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
            n, z, x, e, f, kind = (shard[key] for key in ("n", "z", "x", "e", "f", "kind"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: not a packed shard ({error})") from error
    if len(n) != len(e) or n.sum() != len(z) or x.shape != f.shape or len(x) != len(z):
        raise DataError(f"{path}: the arrays of the shard do not fit each other")
    size = len(n)
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
