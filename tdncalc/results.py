"""What a potential says of a graph, and of each structure in it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdncalc.geometry.graph import AtomicGraph

__all__ = ["PROPERTIES", "Properties", "Results", "split_results", "voigt", "volumes_of"]

PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress", "novelty")

# Of one structure, by name
Properties: TypeAlias = dict[str, float | NDArray[np.float64]]

_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@dataclass(frozen=True)
class Results:
    """What a potential says of a graph of B structures and N atoms, all float64.

    Attributes
    ----------
    energies
        Energy of each atom in eV, (N,).
    energy
        Energy of each structure in eV, (B,).
    forces
        −∂E/∂r in eV/Å, (N, 3).
    strain_gradient
        ∂E/∂ε in eV under r → r(1 + ε), (B, 3, 3); divided by |det cell| it is the stress.
    shortest
        Smallest distance between two atoms in Å, or the cutoff, where it was measured.
    descriptors
        Invariant features of each atom, (N, F), if asked for.
    novelties
        Novelty of each atom, (N,), of a model that has one.
    """

    energies: Tensor
    energy: Tensor
    forces: Tensor | None = None
    strain_gradient: Tensor | None = None
    shortest: float | None = None
    descriptors: Tensor | None = None
    novelties: Tensor | None = None


def split_results(
    graph: AtomicGraph, results: Results, properties: Collection[str]
) -> list[Properties]:
    """Split the results of a graph into one dictionary of NumPy arrays per structure."""
    sizes = [len(graph.numbers)]
    if graph.n_structures > 1:
        sizes = torch.bincount(graph.batch.cpu(), minlength=graph.n_structures).tolist()
    energies = _split(results.energies, sizes)
    forces = None if results.forces is None else _split(results.forces, sizes)
    novelties = None if results.novelties is None else _split(results.novelties, sizes)
    strain_gradient = None if results.strain_gradient is None else results.strain_gradient.cpu()
    volumes = [0.0] * graph.n_structures if strain_gradient is None else volumes_of(graph.cell)
    split: list[Properties] = []
    for index, energy in enumerate(results.energy.tolist()):
        one: Properties = {"energy": energy, "free_energy": energy}
        if "energies" in properties:
            one["energies"] = energies[index]
        if forces is not None and "forces" in properties:
            one["forces"] = forces[index]
        if strain_gradient is not None and volumes[index] > 0:
            one["stress"] = voigt(strain_gradient[index] / volumes[index])
        if novelties is not None and "novelty" in properties:
            one["novelties"] = novelties[index]
            one["novelty"] = max(novelties[index].tolist())
        split.append(one)
    return split


def _split(values: Tensor, sizes: list[int]) -> list[NDArray[np.float64]]:
    """Cut values (N, …) of all atoms into those of structures of so many."""
    on_cpu = values.cpu()
    return [part.numpy() for part in (on_cpu.split(sizes) if len(sizes) > 1 else [on_cpu])]


def volumes_of(cell: Tensor) -> list[float]:
    """Return the volumes of cells (B, 3, 3) in Å³, 0 where the vectors are linearly dependent."""
    volumes = torch.linalg.det(cell).abs()
    largest = torch.linalg.vector_norm(cell, dim=2).prod(1)
    return torch.where(volumes > 1e-12 * largest, volumes, 0.0).tolist()


def voigt(stress: Tensor) -> NDArray[np.float64]:
    """Return a symmetric tensor (3, 3) as (6,) in ASE's order xx yy zz yz xz xy."""
    symmetric = (stress + stress.T) / 2
    return symmetric[_VOIGT].numpy()
