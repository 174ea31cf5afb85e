"""Structures as graphs: atoms, and the directed edges between neighbors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "AtomicGraph",
    "batch_graphs",
    "edge_vectors",
    "listed_graph",
    "make_graph",
    "moved_graph",
    "within",
]


@dataclass(frozen=True)
class AtomicGraph:
    """B structures of together N atoms and E directed edges j -> i, as one graph.

    Attributes
    ----------
    numbers
        Atomic numbers, (N,) int64.
    positions
        Å, (N, 3) float64.
    cell
        Rows are the cell vectors in Å, (B, 3, 3) float64; zeros where there is none.
    pbc
        Along which of them a structure is periodic, (B, 3) bool.
    edge_index
        [source j, target i], (2, E) int64; int32 in a :func:`listed_graph`.
    edge_shift
        Cell vectors added to the source's position, in cell units, (E, 3) float64; integers in a
        :func:`listed_graph`.
    batch
        The structure each atom belongs to, (N,) int64.
    """

    numbers: Tensor
    positions: Tensor
    cell: Tensor
    pbc: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    batch: Tensor

    @property
    def n_structures(self) -> int:
        """The number B of structures."""
        return self.cell.shape[0]

    def to(self, device: torch.device) -> "AtomicGraph":
        """Return the graph on a device."""
        return AtomicGraph(**{name: value.to(device) for name, value in vars(self).items()})


def make_graph(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    edge_index: NDArray[np.integer],
    edge_shift: NDArray[np.integer],
) -> AtomicGraph:
    """Make the graph of one structure from arrays of the same shapes, cell (3, 3), pbc (3,)."""
    edge_index, wide = edge_index.astype(np.int64, copy=False), edge_shift.astype(np.float64)
    return listed_graph(numbers, positions, cell, pbc, edge_index, wide)


def listed_graph(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    edge_index: NDArray[np.integer],
    edge_shift: NDArray[Any],
) -> AtomicGraph:
    """Make the graph of one structure around arrays of edges, which are not copied.

    Compiled kernels take edges as small as a search of neighbors leaves them.
    """
    return AtomicGraph(
        **_structure(numbers, positions, cell, pbc),
        edge_index=torch.as_tensor(edge_index),
        edge_shift=torch.as_tensor(edge_shift),
        batch=torch.zeros(len(numbers), dtype=torch.int64),
    )


def moved_graph(
    graph: AtomicGraph,
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
) -> AtomicGraph:
    """Return the graph of one structure with the edges, the same tensors, of another."""
    return replace(graph, **_structure(numbers, positions, cell, pbc))


def _structure(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
) -> dict[str, Tensor]:
    return {
        "numbers": torch.as_tensor(np.array(numbers, dtype=np.int64)),
        "positions": torch.as_tensor(np.array(positions, dtype=np.float64)),
        "cell": torch.as_tensor(np.array(cell, dtype=np.float64))[None],
        "pbc": torch.as_tensor(np.array(pbc, dtype=np.bool_))[None],
    }


def batch_graphs(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join graphs of one or more structures each, on the CPU, into one."""
    atoms = np.cumsum([0, *(len(graph.numbers) for graph in graphs[:-1])])
    structures = np.cumsum([0, *(graph.n_structures for graph in graphs[:-1])])
    edges = [graph.edge_index.shape[1] for graph in graphs]
    batches = [len(graph.batch) for graph in graphs]
    return AtomicGraph(
        numbers=_joined([g.numbers for g in graphs]),
        positions=_joined([g.positions for g in graphs]),
        cell=_joined([g.cell for g in graphs]),
        pbc=_joined([g.pbc for g in graphs]),
        edge_index=_joined([g.edge_index for g in graphs], np.repeat(atoms, edges), axis=1),
        edge_shift=_joined([g.edge_shift for g in graphs]),
        batch=_joined([g.batch for g in graphs], np.repeat(structures, batches)),
    )


def _joined(parts: list[Tensor], added: NDArray[np.int64] | None = None, axis: int = 0) -> Tensor:
    # NumPy's: PyTorch's would wake its threads, which spin for a while where others could work.
    joined = np.concatenate([part.numpy() for part in parts], axis=axis)
    if added is not None:
        joined += added
    return torch.from_numpy(joined)


def edge_vectors(graph: AtomicGraph) -> Tensor:
    """Return r_j + shift · cell − r_i of every edge in Å, (E, 3) float64."""
    source, target = graph.edge_index
    cells = graph.cell[graph.batch[target]]  # (E, 3, 3)
    shifts = torch.einsum("ea,eab->eb", graph.edge_shift, cells)
    return graph.positions[source] + shifts - graph.positions[target]


def within(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """Leave out the edges that are not shorter than a cutoff in Å."""
    near = torch.linalg.vector_norm(edge_vectors(graph), dim=1) < cutoff
    return replace(graph, edge_index=graph.edge_index[:, near], edge_shift=graph.edge_shift[near])
