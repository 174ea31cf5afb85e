"""Reference data: files into flat arrays, and graphs of them for PyG's loader."""

import gzip
import lzma
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from ase import Atoms
from ase.io import iread
from ase.io.extxyz import read_xyz
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from torch_geometric.data import Data, Dataset

from tdncalc.errors import DataError
from tdncalc.geometry.neighbors import neighbor_list

__all__ = ["EpochSampler", "Frames", "GraphDataset", "load_frames", "load_sets"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ALL = slice(None)


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
        if len(self) <= limit:
            return self
        return self.take(np.linspace(0, len(self) - 1, limit).astype(np.int64))

    def counts(self, numbers: Sequence[int], part: slice = _ALL) -> Ints:
        """Return how many atoms of each number the structures of a part have, (S, n_numbers)."""
        first, last, _ = part.indices(len(self))
        starts = self.starts[first : last + 1]
        held = self.numbers[starts[0] : starts[-1]]
        columns = [np.add.reduceat(held == z, starts[:-1] - starts[0]) for z in numbers]
        return np.stack(columns, axis=1).astype(np.int64)


def load_frames(sources: Iterable[str], root: Path) -> Frames:
    """Read labeled structures from files.

    Parameters
    ----------
    sources
        ``FILE`` or ``FILE#key=value`` (only the frames whose info has that value).
    root
        Folder of relative paths.

    Raises
    ------
    DataError
        A file is missing, unreadable, or has a structure without energy or forces.
    """
    parts = []
    for source in sources:
        name, _, wanted = source.partition("#")
        path = root / name
        if not path.is_file():
            raise DataError(
                f"{path}: no such data file; paths start from {root} (set TDNCALC_DATA)"
            )
        parts.append(_read_shard(path) if path.suffix == ".npz" else _read_extxyz(path, wanted))
    if not parts or not sum(len(part) for part in parts):
        raise DataError(f"no structures in {', '.join(sources)}")
    return _join(parts)


def load_sets(sets: Mapping[str, Iterable[str]], levels: Sequence[str], root: Path) -> Frames:
    """Read sets of labeled structures, each with its place in `levels` as its reference level.

    Parameters
    ----------
    sets
        Files of each set, as :func:`load_frames` takes them.
    levels
        The names of all sets that there are levels for.
    root
        Folder of relative paths.

    Raises
    ------
    DataError
        As of :func:`load_frames`.
    """
    parts = []
    for name, sources in sets.items():
        part = load_frames(sources, root)
        parts.append(replace(part, level=np.full(len(part), levels.index(name))))
    return _join(parts)


def _join(parts: list[Frames]) -> Frames:
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in vars(parts[0])
        if name != "starts"
    }
    sizes = np.concatenate([part.n_atoms() for part in parts])
    return Frames(starts=np.concatenate([[0], np.cumsum(sizes)]), **arrays)


def _read_shard(path: Path) -> Frames:
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


def _read_extxyz(path: Path, wanted: str) -> Frames:
    key, _, value = wanted.partition("=")
    try:
        frames = [a for a in _frames_of(path) if not key or str(a.info.get(key)) == value]
    except (OSError, ValueError, KeyError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as labeled structures ({error})") from error
    labels = [_labels(atoms, f"{path}@{index}") for index, atoms in enumerate(frames)]
    empty = np.empty((0, 3))
    return Frames(
        starts=np.cumsum([0, *(len(atoms) for atoms in frames)]),
        numbers=np.concatenate([np.empty(0, dtype=np.int64), *(a.numbers for a in frames)]),
        positions=np.concatenate([empty, *(a.positions for a in frames)]),
        forces=np.concatenate([empty, *(label[1] for label in labels)]),
        energy=np.array([label[0] for label in labels]),
        cell=np.array([a.cell.array for a in frames]).reshape(-1, 3, 3),
        pbc=np.array([a.pbc for a in frames]).reshape(-1, 3),
        stress=np.array([label[2] for label in labels]).reshape(-1, 3, 3),
        kind=np.array([_kind(atoms) for atoms in frames], dtype=np.str_),
        level=np.zeros(len(frames), dtype=np.int64),
    )


def _frames_of(path: Path) -> Iterator[Atoms]:
    opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    if not {".extxyz", ".xyz"} & set(path.suffixes):
        yield from iread(path, index=":")
        return
    with opener(path, "rt") as file:
        # one frame at a time: ASE looks through the whole file and then goes back for each frame,
        # which takes hours where it is compressed
        while (count := file.readline()).strip():
            frame = count + "".join(islice(file, int(count) + 1))
            yield from read_xyz(StringIO(frame))


def _labels(atoms: Atoms, label: str) -> tuple[float, Floats, Floats]:
    """Energy, forces and stress (NaN if unknown) that a file gave with a structure."""
    results = atoms.calc.results if atoms.calc is not None else {}
    energy = results.get("energy", atoms.info.get("energy"))
    forces = results.get("forces", atoms.arrays.get("forces"))
    if energy is None or forces is None:
        raise DataError(f"{label}: a structure to learn from needs energy and forces")
    stress = results.get("stress")
    if stress is None:
        return float(energy), np.asarray(forces), np.full((3, 3), np.nan)
    full = voigt_6_to_full_3x3_stress(stress) if np.ndim(stress) == 1 else stress
    return float(energy), np.asarray(forces), np.asarray(full, dtype=np.float64)


def _kind(atoms: Atoms) -> str:
    return str(atoms.info.get("config_type", atoms.info.get("kind", "all")))


class GraphDataset(Dataset):  # type: ignore[misc]
    """The graphs of labeled structures as PyG data, made when asked for.

    Each item holds ``z`` (N,), ``edge_index`` (2, E), ``edge_vectors`` (E, 3) in Å, ``energy`` (1,)
    and ``reference_energy`` (1,) in eV, ``forces`` (N, 3), ``strain_gradient`` (1, 3, 3) in eV,
    ``has_stress`` and ``level`` (1,).

    Parameters
    ----------
    frames
        The structures.
    cutoff
        Å.
    references
        Reference energies by level and atomic number in eV, (n_levels, 119).
    """

    def __init__(self, frames: Frames, cutoff: float, references: Floats) -> None:
        super().__init__()
        self.frames = frames
        self.cutoff = cutoff
        self.references = references

    def len(self) -> int:
        """Return the number of structures."""
        return len(self.frames)

    def get(self, idx: int) -> Data:
        """Make the graph of one structure."""
        frames = self.frames
        part = slice(frames.starts[idx], frames.starts[idx + 1])
        numbers, cell = frames.numbers[part], frames.cell[idx]
        edge_index, vectors = frames.edges(idx, self.cutoff)
        stress = frames.stress[idx]
        volume, level = abs(np.linalg.det(cell)), frames.level[idx]
        known = bool(np.isfinite(stress).all() and volume > 0)
        strain_gradient = stress * volume if known else np.zeros((3, 3))
        reference = self.references[level, numbers].sum()
        return Data(
            z=torch.from_numpy(numbers),
            edge_index=torch.from_numpy(edge_index),
            edge_vectors=torch.from_numpy(vectors.astype(np.float32)),
            energy=torch.tensor([frames.energy[idx]], dtype=torch.float64),
            reference_energy=torch.tensor([reference], dtype=torch.float64),
            forces=torch.from_numpy(frames.forces[part].astype(np.float32)),
            strain_gradient=torch.from_numpy(strain_gradient.astype(np.float32))[None],
            has_stress=torch.tensor([float(known)]),
            level=torch.tensor([level]),
            num_nodes=len(numbers),
        )


class EpochSampler:
    """Batches of indices, shuffled anew each epoch, the same for the same seed and epoch.

    Parameters
    ----------
    size
        Number of structures.
    batch_size
        Structures in a batch; a last smaller batch is left out.
    seed
        Of the order.
    start
        Number of batches to pass over, so that a resumed run goes on where it stopped.
    """

    def __init__(self, size: int, batch_size: int, seed: int, start: int = 0) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self.size // self.batch_size
        epoch, skip = divmod(self.start, per_epoch)
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
            for batch in range(skip, per_epoch):
                yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()
            epoch, skip = epoch + 1, 0
