"""Lists of edges that keep their length while neighbors come and go."""

from dataclasses import replace

import torch
from torch import Tensor

from tdncalc.geometry.graph import AtomicGraph

__all__ = ["fits", "pad_edges", "room"]

_LEAST = 64


def room(n_edges: int) -> int:
    """Return how many edges to make room for, so that few more or less need no other room."""
    wanted = n_edges + n_edges // 16
    step = max(_LEAST, 1 << max(0, wanted.bit_length() - 4))  # an eighth to a sixteenth of it
    return max(1, -(-wanted // step)) * step


def fits(n_edges: int, available: int) -> bool:
    """Tell whether a room is large enough, and not far too large."""
    return n_edges <= available <= 2 * room(n_edges)


def pad_edges(graph: AtomicGraph, n_edges: int, reach: float) -> tuple[AtomicGraph, Tensor]:
    """Add edges that contribute exactly nothing: from atoms to themselves, beyond the cutoff.

    They are shared out evenly among the atoms.

    Parameters
    ----------
    graph
        At most so many edges.
    n_edges
        How many edges to have.
    reach
        Length of the added edges in Å, more than the cutoff.

    Returns
    -------
    graph
        With all edges.
    offsets
        What to add to the edge vectors in Å, (n_edges, 3) float64: zero for those that were there.
    """
    n_known, like = graph.edge_index.shape[1], graph.edge_shift
    n_new = n_edges - n_known
    atoms = torch.arange(n_new, device=like.device) % len(graph.numbers)
    offsets = like.new_zeros(n_edges, 3)
    offsets[n_known:, 0] = reach
    padded = replace(
        graph,
        edge_index=torch.cat([graph.edge_index, atoms.expand(2, n_new)], dim=1),
        edge_shift=torch.cat([like, like.new_zeros(n_new, 3)]),
    )
    return padded, offsets
