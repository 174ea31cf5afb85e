"""Bonds of structures as an optimizer sees them: near atoms, and how strongly they are bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import units
from numpy.typing import NDArray

from tdncalc.errors import StructureError
from tdncalc.workflows.rows import Bools, Floats

Ints = NDArray[np.int64]

# Of ρ, see :mod:`tdncalc.workflows.internals`.
_ALPHA = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]])  # 1/Bohr²
_R0 = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]])  # Bohr
LEAST = 1e-3  # ρ of a bond
_MOST = 3.0  # ρ of N₂; more is a clash, or no chemistry
_SHORTEST = 0.05  # Å
_CUTOFF = 6.1 * units.Bohr  # where ρ is LEAST at the latest
_FEW = 64  # atoms of a molecule whose pairs are all measured sooner than searched


@dataclass(frozen=True)
class Frame:
    """A structure as an optimizer sees it.

    Attributes
    ----------
    numbers, positions, cell, pbc
        Of the structure, (N,), (N, 3), (3, 3) and (3,).
    fixed
        Mask (N,) of the atoms that stay.
    strain
        Projector (9, 9) to the strains that are free, over the length in Å that they are multiplied
        by; None if the cell stays. Three rows after those of the atoms are the strain.
    """

    numbers: Ints
    positions: Floats
    cell: Floats
    pbc: Bools
    fixed: Bools
    strain: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Rows of its coordinates."""
        return len(self.numbers) + (0 if self.strain is None else 3)


@dataclass(frozen=True)
class Bonds:
    """Directed pairs of atoms, sorted by `i`.

    Rows i and j (E,), vectors (E, 3) from i to j, ρ (E,), and which rows (R,) are free: 1 or 0.
    """

    i: Ints
    j: Ints
    vectors: Floats
    rho: Floats
    free: Floats

    @cached_property
    def single(self) -> Floats:
        """ρ that is no larger than that of a single bond: short bonds do not bend less."""
        return np.minimum(self.rho, 1.0)

    @cached_property
    def lengths(self) -> Floats:
        """Of the vectors, (E, 1); no bond is shorter than that of atoms in each other."""
        squares = np.einsum("ex,ex->e", self.vectors, self.vectors)
        return np.asarray(np.sqrt(np.maximum(squares, _SHORTEST**2))[:, None])


def find_bonds(frames: Sequence[Frame]) -> Bonds:
    """Return the bonds of structures whose rows follow each other."""
    n_rows = np.array([frame.n_rows for frame in frames])
    starts = np.cumsum(n_rows) - n_rows
    rows = np.concatenate(
        [s + np.arange(len(f.numbers)) for s, f in zip(starts, frames, strict=True)]
    )
    period, free = np.zeros(n_rows.sum(), dtype=np.int64), np.ones(n_rows.sum())
    period[rows] = np.searchsorted([3, 11], np.concatenate([f.numbers for f in frames]), "right")
    free[rows] = ~np.concatenate([frame.fixed for frame in frames])
    if all(_is_small_molecule(frame) for frame in frames):
        i, j, vectors = _pairs_of_molecules(frames, starts)
    else:
        found = [_pairs(frame, start) for frame, start in zip(frames, starts, strict=True)]
        i, j, vectors = (np.concatenate(column) for column in zip(*found, strict=True))
    pair = period[i], period[j]
    squares = np.einsum("ex,ex->e", vectors, vectors) / units.Bohr**2
    rho = np.minimum(np.exp(_ALPHA[pair] * (_R0[pair] ** 2 - squares)), _MOST)
    near = rho > LEAST
    return Bonds(i[near], j[near], vectors[near], rho[near], free)


def _is_small_molecule(frame: Frame) -> bool:
    few = len(frame.numbers) <= _FEW and not frame.pbc.any()
    return bool(few and np.isfinite(frame.positions).all())


def _pairs_of_molecules(frames: Sequence[Frame], starts: Ints) -> tuple[Ints, Ints, Floats]:
    """Return what :func:`_pairs` does, of many at once: every two atoms are looked at."""
    counts = np.array([len(frame.numbers) for frame in frames])
    squared = counts**2
    owner = np.repeat(np.arange(len(frames)), squared)
    place = np.arange(squared.sum()) - np.repeat(np.cumsum(squared) - squared, squared)
    first, second = np.divmod(place, counts[owner])
    shift = (np.cumsum(counts) - counts)[owner]
    positions = np.concatenate([frame.positions for frame in frames])
    vectors = positions[shift + second] - positions[shift + first]
    near = np.einsum("ex,ex->e", vectors, vectors) < _CUTOFF**2
    near &= first != second
    start = starts[owner[near]]
    return start + first[near], start + second[near], vectors[near]


def _pairs(frame: Frame, start: int) -> tuple[Ints, Ints, Floats]:
    """Return pairs of near atoms, rows i and j (E,) with the first one at `start`, and vectors."""
    from tdncalc.geometry.neighbors import neighbor_list  # with it comes torch

    try:
        (j, i), shifts = neighbor_list(frame.positions, frame.cell, frame.pbc, _CUTOFF)
    except StructureError:
        # Atoms that flew far apart have no bonds.
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, 3))
    vectors = frame.positions[j] + shifts @ frame.cell - frame.positions[i]
    return start + i, start + j, vectors
