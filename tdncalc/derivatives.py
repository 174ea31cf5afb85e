"""Forces, strain gradients and second derivatives from gradients by edge vectors and positions."""

import torch
from torch import Tensor

from tdncalc.geometry.graph import AtomicGraph

__all__ = ["forces_of", "jacobian", "strain_gradient", "sum_by"]

_HESSIAN_EDGES = 50_000  # edges times rows of a Hessian at once


def jacobian(values: Tensor, positions: Tensor, n_edges: int) -> Tensor:
    """Return the derivatives of n values by the positions (N, 3), (n, 3N)."""
    # as many rows of the result at once as a batch may have edges
    directions = torch.eye(len(values), dtype=values.dtype, device=values.device)
    rows = [
        torch.autograd.grad(values, positions, part, retain_graph=True, is_grads_batched=True)[0]
        for part in directions.split(max(1, _HESSIAN_EDGES // max(1, n_edges)))
    ]
    return torch.cat(rows).flatten(1)


def sum_by(values: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Sum values (n, …) by group (n,), (n_groups, …)."""
    return values.new_zeros(n_groups, *values.shape[1:]).index_add(0, groups, values)


def forces_of(graph: AtomicGraph, gradient: Tensor) -> Tensor:
    """Return forces (N, 3), given the gradient of the energy by the edge vectors (E, 3)."""
    source, target = graph.edge_index
    zeros = torch.zeros_like(graph.positions)
    return zeros.index_add(0, target, gradient).index_add(0, source, -gradient)


def strain_gradient(graph: AtomicGraph, vectors: Tensor, gradient: Tensor) -> Tensor:
    """Return ∂E/∂ε (B, 3, 3), given edge vectors and the gradient of the energy by them (E, 3)."""
    by_edge = vectors[:, :, None] * gradient[:, None, :]  # (E, 3, 3)
    return sum_by(by_edge, graph.batch[graph.edge_index[1]], graph.n_structures)
