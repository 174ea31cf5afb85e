"""Measure what a network finds in its training set at most, which bounds it everywhere."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from tdncalc.batches import backing_off, edge_budget, in_batches
from tdncalc.geometry.graph import AtomicGraph, edge_vectors
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.frames import Frames

__all__ = ["largest_norms", "lowest_energies", "set_bounds"]


def set_bounds(network: TDN, frames: Frames, *, device: torch.device) -> None:
    """Measure the bounds of a network on its training set, and give them to it."""
    lowest = lowest_energies(network, frames, device=device)
    largest = largest_norms(network, frames, device=device)
    for bound, found in zip(network.bounds().values(), (lowest, *largest), strict=True):
        bound.copy_(found)


def lowest_energies(
    network: TDN, frames: Frames, *, device: torch.device, limit: int = 40_000
) -> Tensor:
    """Return the lowest energy that a network's layers give an atom of each element.

    Without reference energies and repulsion, in eV, (n_elements,); −∞ of an element that the
    structures do not have.

    Parameters
    ----------
    network
        The network, which is left as it is; bounds that it has do not count.
    frames
        Its training set.
    device
        Where to evaluate.
    limit
        Use at most so many structures, evenly spaced.
    """
    potential = _unbound(network, device)
    potential.settle(wait=True)
    lowest = torch.full((len(network.config.elements),), torch.inf, dtype=torch.float64)

    def note(graph: AtomicGraph) -> None:
        elements, energies = _of_layers(potential, graph)
        lowest.scatter_reduce_(0, elements, energies, "amin")

    _each(potential, frames.evenly(limit), note)
    return torch.where(lowest.isfinite(), lowest, -torch.inf).float()


def largest_norms(
    network: TDN, frames: Frames, *, device: torch.device, limit: int = 8_000
) -> Tensor:
    """Return the largest norm of what an atom of each element gathers in each layer.

    (n_layers, n_elements); ∞ of an element that the structures do not have. Parameters as of
    :func:`lowest_energies`.
    """
    potential = _unbound(network, device)
    elements = torch.empty(0, dtype=torch.int64)
    largest = torch.zeros(network.config.n_layers, len(network.config.elements), device=device)
    copy = potential.network
    assert isinstance(copy, TDN)

    def note(layer: int, gathered: Tensor) -> None:
        norms = torch.linalg.vector_norm(gathered, dim=(1, 2))
        largest[layer] = largest[layer].scatter_reduce(0, elements, norms, "amax")

    for layer in range(network.config.n_layers):
        copy.get_submodule(f"interactions.{layer}.message").register_forward_hook(
            lambda _module, _inputs, gathered, layer=layer: note(layer, gathered)
        )

    def evaluate(graph: AtomicGraph) -> None:
        nonlocal elements
        moved = graph.to(device)
        elements = copy.element_indices(moved.numbers)
        copy(elements, moved.edge_index, edge_vectors(moved).float())

    _each(potential, frames.evenly(limit), evaluate)
    return torch.where(largest > 0, largest, torch.inf).cpu()


def _unbound(network: TDN, device: torch.device) -> Potential:
    network = deepcopy(network)  # a potential freezes its network
    network.unbind()
    return Potential(network, {"name": "unbound"}, device=device, dtype=torch.float32)


def _each(potential: Potential, frames: Frames, note: Callable[[AtomicGraph], None]) -> None:
    """Note something of all structures, in batches, of some perhaps twice."""

    def compute(graph: AtomicGraph) -> list[None]:
        note(graph)
        return []

    graphs = (potential.graph(frames.atoms(i), f"structure {i}") for i in range(len(frames)))
    for part in in_batches(graphs, edge_budget(potential.device, potential.dtype)):
        backing_off(compute, part)


def _of_layers(potential: Potential, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
    """Return the atoms' element indices (N,), and what the layers give them in eV, (N,)."""
    network = potential.network
    assert isinstance(network, TDN)
    found = potential.compute(graph, forces=False).energies.cpu()
    graph = graph.to(potential.device)
    elements = network.element_indices(graph.numbers)
    vectors = edge_vectors(graph).to(potential.dtype)
    repulsion = network.repulsion_energies(elements, graph.edge_index, vectors).cpu().double()
    elements = elements.cpu()
    return elements, found - potential.reference_energies.cpu()[elements] - repulsion
