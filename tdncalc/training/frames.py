"""Labeled structures as flat arrays, in memory or on disk."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tdncalc.geometry.neighbors import neighbor_list

__all__ = ["Floats", "Frames", "Ints", "Structure", "gather", "join"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 50_000
_COMPARED = 250_000  # energies at a time, of which those that are equal are found
_OF_ATOMS = ("numbers", "positions", "forces")
_OF_STRUCTURES = ("energy", "cell", "pbc", "stress", "kind", "level")


@dataclass(frozen=True)
class Frames:
    """S labeled structures of together A atoms, as flat arrays.

    Attributes
    ----------
    starts
        First atom of each structure and, last, A; (S + 1,).
    numbers, positions, forces
        Atomic numbers (A,), Å (A, 3), eV/Å (A, 3).
    energy
        eV, (S,).
    cell, pbc
        Å (S, 3, 3); (S, 3).
    stress
        eV/Å³ in ASE's sign, (S, 3, 3); NaN where unknown.
    kind
        A word for the sort of structure, (S,).
    level
        Which set, and so which reference level of the energy, a structure belongs to, (S,).
    """

    starts: Ints
    numbers: Ints
    positions: Floats
    forces: Floats
    energy: Floats
    cell: Floats
    pbc: NDArray[np.bool_]
    stress: Floats
    kind: NDArray[np.str_]
    level: Ints

    def __len__(self) -> int:
        return len(self.energy)

    def n_atoms(self) -> Ints:
        """Return the number of atoms of each structure, (S,)."""
        return np.diff(self.starts)

    def blocks(self) -> Iterator["Frames"]:
        """Yield all structures in order, so many at a time as fit into memory; views, no copies."""
        for first in range(0, len(self), _BLOCK):
            part = slice(first, min(first + _BLOCK, len(self)))
            starts = self.starts[part.start : part.stop + 1]
            rows = slice(starts[0], starts[-1])
            of_atoms = {name: getattr(self, name)[rows] for name in _OF_ATOMS}
            rest = {name: getattr(self, name)[part] for name in _OF_STRUCTURES}
            yield Frames(starts=starts - starts[0], **of_atoms, **rest)

    def digest(self) -> str:
        """Return a digest of the structures with their labels and levels."""
        found = hashlib.sha256()
        for block in self.blocks():
            integers = (block.numbers, "u1"), (block.level, "u1"), (block.pbc, "u1")
            labels = ((array, "<f8") for array in (block.energy, block.forces, block.stress))
            places = ((array, "<f8") for array in (block.positions, block.cell))
            for array, kind in (*integers, *labels, *places):
                found.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        return found.hexdigest()

    def atoms(self, index: int) -> Atoms:
        """Return one structure without its labels."""
        part = slice(self.starts[index], self.starts[index + 1])
        return Atoms(
            self.numbers[part], self.positions[part], cell=self.cell[index], pbc=self.pbc[index]
        )

    def edges(self, index: int, cutoff: float) -> tuple[Ints, Floats]:
        """Return a structure's [source, target] (2, E) and edge vectors (E, 3) in Å."""
        part = slice(self.starts[index], self.starts[index + 1])
        positions, cell = self.positions[part], self.cell[index]
        edge_index, shift = neighbor_list(positions, cell, self.pbc[index], cutoff)
        return edge_index, positions[edge_index[0]] + shift @ cell - positions[edge_index[1]]

    def take(self, indices: Sequence[int] | Ints) -> "Frames":
        """Return some of the structures, in the given order."""
        spans = [np.arange(self.starts[i], self.starts[i + 1]) for i in indices]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *spans])
        chosen = np.asarray(indices, dtype=np.int64)
        return Frames(
            starts=np.cumsum([0, *(len(span) for span in spans)]),
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            forces=self.forces[rows],
            energy=self.energy[chosen],
            cell=self.cell[chosen],
            pbc=self.pbc[chosen],
            stress=self.stress[chosen],
            kind=self.kind[chosen],
            level=self.level[chosen],
        )

    def evenly(self, limit: int) -> "Frames":
        """Return at most so many structures, evenly spaced."""
        return self if len(self) <= limit else self.take(self.even_places(limit))

    def even_places(self, limit: int) -> Ints:
        """Return the places of at most so many structures, evenly spaced."""
        return np.linspace(0, len(self) - 1, min(limit, len(self))).astype(np.int64)

    def geometry(self, index: int) -> tuple[bytes, ...]:
        """Return a structure's atomic numbers, positions and cell, to tell it from others."""
        part = slice(self.starts[index], self.starts[index + 1])
        numbers = self.numbers[part].astype(np.uint8)
        return numbers.tobytes(), self.positions[part].tobytes(), self.cell[index].tobytes()

    def n_distinct(self) -> int:
        """Return how many structures there are, each that comes repeatedly counted once.

        Only structures of one energy are compared, a part of all energies at a time: memory does
        not grow with the set.
        """
        parts = len(self) // _COMPARED | 1  # odd: the last bits of energies may all be zero
        return sum(self._n_distinct(part, parts) for part in range(parts))

    def _n_distinct(self, part: int, parts: int) -> int:
        chosen = [
            start + np.flatnonzero(np.ascontiguousarray(energy).view(np.uint64) % parts == part)
            for start, energy in _pieces(self.energy)
        ]
        places = np.concatenate(chosen)
        _, which, times = np.unique(self.energy[places], return_inverse=True, return_counts=True)
        alike = places[times[which] > 1]  # only these can have come before
        found = {(float(self.energy[i]), _digest(self.geometry(int(i)))) for i in alike}
        return len(places) - len(alike) + len(found)

    def has_stress(self) -> NDArray[np.bool_]:
        """Return of which structures the stress is known, (S,): none is without a volume."""
        known = np.isfinite(self.stress).all(axis=(1, 2))
        return np.asarray(known & (np.linalg.det(self.cell) != 0))

    def counts(self, numbers: Sequence[int]) -> Ints:
        """Return how many atoms of each atomic number a structure has, (S, len(numbers))."""
        columns = [np.add.reduceat(self.numbers == z, self.starts[:-1]) for z in numbers]
        return np.stack(columns, axis=1).astype(np.int64)


@dataclass(frozen=True)
class Structure:
    """One labeled structure of N atoms, as the readers find them.

    Attributes
    ----------
    numbers, positions, forces
        Atomic numbers (N,), Å (N, 3), eV/Å (N, 3).
    energy
        eV.
    cell, pbc, stress
        Å (3, 3); (3,); eV/Å³ in ASE's sign (3, 3), or None where unknown.
    info
        What else the file says of it, to choose structures by.
    kind
        A word for the sort of structure.
    """

    numbers: NDArray[np.integer]
    positions: Floats
    forces: Floats
    energy: float
    cell: Floats | None = None
    pbc: Sequence[bool] | NDArray[np.bool_] = (False, False, False)
    stress: Floats | None = None
    info: Mapping[str, object] = field(default_factory=dict)
    kind: str = "all"


def _pieces(energy: Floats) -> Iterator[tuple[int, Floats]]:
    """Give the first place and the energies of pieces of a bounded size."""
    for start in range(0, len(energy), _COMPARED):
        yield start, energy[start : start + _COMPARED]


def _digest(parts: tuple[bytes, ...]) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def gather(structures: Iterable[Structure]) -> Frames:
    """Put structures into flat arrays."""
    found = list(structures)
    empty, unknown = np.empty((0, 3)), np.full((3, 3), np.nan)
    return Frames(
        starts=np.cumsum([0, *(len(s.numbers) for s in found)]),
        numbers=np.concatenate([np.empty(0, np.int64), *(s.numbers for s in found)]).astype(int),
        positions=np.concatenate([empty, *(s.positions for s in found)]),
        forces=np.concatenate([empty, *(s.forces for s in found)]),
        energy=np.array([s.energy for s in found], dtype=np.float64),
        cell=np.array([np.zeros((3, 3)) if s.cell is None else s.cell for s in found]).reshape(
            -1, 3, 3
        ),
        pbc=np.array([s.pbc for s in found], dtype=bool).reshape(-1, 3),
        stress=np.array([unknown if s.stress is None else s.stress for s in found]).reshape(
            -1, 3, 3
        ),
        kind=np.array([s.kind for s in found], dtype=np.str_),
        level=np.zeros(len(found), dtype=np.int64),
    )


def join(parts: Sequence[Frames]) -> Frames:
    """Put the structures of several one after the other."""
    parts = parts or [gather([])]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in vars(parts[0])
        if name != "starts"
    }
    sizes = np.concatenate([part.n_atoms() for part in parts])
    return Frames(starts=np.concatenate([[0], np.cumsum(sizes)]), **arrays)
