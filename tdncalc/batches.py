"""Many graphs at once: as many as fit, and fewer where they do not."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from tdncalc.errors import OutOfMemoryError
from tdncalc.geometry.graph import AtomicGraph, batch_graphs

__all__ = ["backing_off", "edge_budget", "in_batches", "in_edges", "is_shortage", "too_large"]

_CPU_EDGES = 50_000  # more are no faster: their features leave the caches
_EDGES_PER_ATOM = 10  # in the memory that they take
# Of PyTorch's tensors for energy and forces: of `organic` an edge takes 23 kB in float32, or 2 kB
# with kernels for the messages, and an atom 250 kB. Of larger networks fewer are tried.
_CUDA_NUMBERS_PER_EDGE = 6_250
_ALLOCATION_FAILED = (
    *("can't allocate memory", "not enough memory", "out of memory"),
    "CUBLAS_STATUS_ALLOC_FAILED",
)

T = TypeVar("T")


def in_edges(n_atoms: int, n_edges: int) -> int:
    """Return what atoms and edges take of a budget."""
    return _EDGES_PER_ATOM * n_atoms + n_edges


def edge_budget(device: torch.device, dtype: torch.dtype) -> int:
    """Return how many edges to evaluate together: on a GPU what its free memory holds.

    What PyTorch keeps of earlier evaluations is free to it.
    """
    if device.type != "cuda":
        return _CPU_EDGES
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(_CPU_EDGES, (free + kept) // (dtype.itemsize * _CUDA_NUMBERS_PER_EDGE))


def in_batches(graphs: Iterable[AtomicGraph], budget: int) -> Iterator[list[AtomicGraph]]:
    """Cut graphs into runs that take at most a budget, but of at least one graph."""
    part: list[AtomicGraph] = []
    room = budget
    for graph in graphs:
        size = in_edges(len(graph.numbers), graph.edge_index.shape[1])
        if part and size > room:
            yield part
            part, room = [], budget
        part.append(graph)
        room -= size
    if part:
        yield part


def backing_off(compute: Callable[[AtomicGraph], list[T]], part: list[AtomicGraph]) -> list[T]:
    """Compute some graphs together, or in halves where memory runs out.

    Raises
    ------
    OutOfMemoryError
        One graph alone does not fit.
    """
    try:
        return compute(batch_graphs(part))
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        if len(part) == 1:
            raise too_large(part[0]) from error
    half = len(part) // 2
    return backing_off(compute, part[:half]) + backing_off(compute, part[half:])


def too_large(graph: AtomicGraph) -> OutOfMemoryError:
    """Make the error for one structure that does not fit."""
    return OutOfMemoryError(
        f"{len(graph.numbers)} atoms with {graph.edge_index.shape[1]} edges do not fit "
        "into memory; use a machine with more, or a smaller structure"
    )


def is_shortage(error: Exception) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _ALLOCATION_FAILED)
