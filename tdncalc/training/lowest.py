"""Measure the lowest energies of atoms in a training set, below which there is a floor."""

from copy import deepcopy

import torch
from torch import Tensor

from tdncalc.batches import edge_budget, in_batches
from tdncalc.geometry.graph import AtomicGraph, batch_graphs, edge_vectors
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.frames import Frames

__all__ = ["lowest_energies"]


def lowest_energies(
    network: TDN, frames: Frames, *, device: torch.device, limit: int = 40_000
) -> Tensor:
    """Return the lowest energy that a network's layers give an atom of each element.

    Without reference energies and repulsion, in eV, (n_elements,); −∞ of an element that the
    structures do not have.

    Parameters
    ----------
    network
        The network, which is left as it is.
    frames
        Its training set.
    device
        Where to evaluate.
    limit
        Use at most so many structures, evenly spaced.
    """
    network = deepcopy(network)  # a potential freezes its network
    network.lowest = torch.full_like(network.lowest, -torch.inf)
    potential = Potential(network, {"name": "lowest"}, device=device, dtype=torch.float32)
    potential.settle(wait=True)
    frames = frames.evenly(limit)
    lowest = torch.full((len(network.config.elements),), torch.inf, dtype=torch.float64)
    graphs = (potential.graph(frames.atoms(i), f"structure {i}") for i in range(len(frames)))
    for part in in_batches(graphs, edge_budget(device)):
        elements, energies = _of_layers(potential, batch_graphs(part))
        lowest = lowest.scatter_reduce(0, elements, energies, "amin")
    return torch.where(lowest.isfinite(), lowest, -torch.inf).float()


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
