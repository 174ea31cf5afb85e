"""Labeled structures from files, and their graphs, one by one or many together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data, Dataset

from tdncalc.architectures import Network
from tdncalc.errors import DataError
from tdncalc.training.frames import Floats, Frames, join
from tdncalc.training.packed import is_packed, open_packed, pack
from tdncalc.training.reading import paths_of, read
from tdncalc.training.step import Batch

__all__ = [
    "Floats",
    "Frames",
    "GraphDataset",
    "load_frames",
    "load_sets",
    "make_batch",
    "pack_sets",
]

_MOST_SETS = 256  # whose levels packed structures can tell apart


def load_frames(sources: Iterable[str], root: Path) -> Frames:
    """Read labeled structures from files into memory.

    Parameters
    ----------
    sources
        As :func:`tdncalc.training.reading.read` takes them.
    root
        Folder of relative paths.

    Raises
    ------
    DataError
        A file is missing, unreadable, or has a structure without energy or forces.
    """
    return load_sets({"": list(sources)}, [""], root)


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
    frames = join(list(_parts(sets, levels, root)))
    if not len(frames):
        raise DataError(f"no structures in {_listed(sets)}")
    return frames


def pack_sets(
    sets: Mapping[str, Iterable[str]], levels: Sequence[str], root: Path, folder: Path
) -> Frames:
    """Convert sets once into a folder of arrays, and map them into memory.

    As :func:`load_sets`, but in a bounded amount of memory. A folder that holds just these files,
    unchanged since, is taken as it is.

    Raises
    ------
    DataError
        As of :func:`load_frames`, or there are more sets than a byte can tell apart.
    """
    if len(levels) > _MOST_SETS:
        raise DataError(
            f"{len(levels)} sets are too many to pack; at most {_MOST_SETS} have levels of their "
            "own, put those of one theory together"
        )
    files = [
        [name, source, *_stamps(source.partition("#")[0], root)]
        for name, sources in sets.items()
        for source in sources
    ]
    made_of = [list(levels), files]
    if not is_packed(folder, made_of):
        pack(_parts(sets, levels, root), folder, made_of)
    frames = open_packed(folder)
    if not len(frames):
        raise DataError(f"no structures in {_listed(sets)}")
    return frames


def _parts(
    sets: Mapping[str, Iterable[str]], levels: Sequence[str], root: Path
) -> Iterator[Frames]:
    for name, sources in sets.items():
        for part in (part for source in sources for part in read(source, root)):
            yield replace(part, level=np.full(len(part), levels.index(name)))


def _stamps(name: str, root: Path) -> list[int]:
    """Return what tells a source that has changed from an unchanged one, of each of its files."""
    files = [
        file
        for path in paths_of(name, root)
        for file in (sorted(path.glob("[!.]*")) if path.is_dir() else [path])
        if file.name != "lock.mdb"  # of LMDB, which readers write
    ]
    return [stamp for file in files for stamp in (file.stat().st_size, file.stat().st_mtime_ns)]


def _listed(sets: Mapping[str, Iterable[str]]) -> str:
    return ", ".join(source for sources in sets.values() for source in sources)


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
        graph = self._graph(idx)
        tensors = {name: torch.from_numpy(array) for name, array in graph.items()}
        return Data(**tensors, num_nodes=len(graph["z"]))

    def batch(self, indices: Sequence[int]) -> Data:
        """Make the graphs of several structures as one, as PyG's loader does, but sooner.

        With ``batch`` (N,), the structure each atom belongs to, and ``num_graphs``.
        """
        graphs = [self._graph(index) for index in indices]
        sizes = [len(graph["z"]) for graph in graphs]
        for graph, start in zip(graphs, np.cumsum([0, *sizes[:-1]]), strict=True):
            graph["edge_index"] = graph["edge_index"] + start
        joined = {
            name: np.concatenate([graph[name] for graph in graphs], axis=int(name == "edge_index"))
            for name in graphs[0]
        }
        tensors = {name: torch.from_numpy(array) for name, array in joined.items()}
        batch = torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes))
        return Data(**tensors, batch=batch, num_nodes=sum(sizes), num_graphs=len(graphs))

    def _graph(self, idx: int) -> dict[str, NDArray[Any]]:
        frames = self.frames
        part = slice(frames.starts[idx], frames.starts[idx + 1])
        numbers, cell = frames.numbers[part].astype(np.int64), frames.cell[idx]
        edge_index, vectors = frames.edges(idx, self.cutoff)
        stress = frames.stress[idx]
        volume, level = abs(np.linalg.det(cell)), frames.level[idx]
        known = bool(np.isfinite(stress).all() and volume > 0)
        strain_gradient = stress * volume if known else np.zeros((3, 3))
        return {
            "z": numbers,
            "edge_index": edge_index,
            "edge_vectors": vectors.astype(np.float32),
            "energy": np.array([frames.energy[idx]], dtype=np.float64),
            "reference_energy": np.array([self.references[level, numbers].sum()]),
            "forces": frames.forces[part].astype(np.float32),
            "strain_gradient": strain_gradient.astype(np.float32)[None],
            "has_stress": np.array([known], dtype=np.float32),
            "level": np.array([level], dtype=np.int64),
        }


def make_batch(data: Data, network: Network, device: torch.device) -> Batch:
    """Turn a batch of graphs into what the loss needs."""
    data = data.to(device)
    return Batch(
        elements=network.element_indices(data.z),
        edge_index=data.edge_index,
        vectors=data.edge_vectors,
        structure=data.batch,
        n_atoms=torch.bincount(data.batch, minlength=data.num_graphs).float(),
        energy=(data.energy - data.reference_energy).float(),
        forces=data.forces,
        strain_gradient=data.strain_gradient,
        has_stress=data.has_stress,
        level=data.level,
    )
