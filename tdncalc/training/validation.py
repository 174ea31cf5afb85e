"""Errors on the structures that are held out during training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tdncalc.architectures import Network
from tdncalc.training.data import GraphDataset, make_batch
from tdncalc.training.step import Step

__all__ = ["held_out_errors"]


def held_out_errors(
    step: Step,
    network: Network,
    parameters: Sequence[Tensor],
    dataset: GraphDataset,
    batch_size: int,
) -> tuple[float, float, float]:
    """Return mean absolute errors of energies, force components and virials.

    Returns
    -------
    tuple
        In eV/atom, eV/Å and eV/atom.
    """
    device = parameters[0].device
    balance = torch.ones(2, device=device)
    energy = forces = virial = atoms = known = 0.0
    network.eval()  # no dropout
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        batch = make_batch(dataset.batch(indices), network, device)
        result = step(parameters, batch, balance)
        energy += float(result.energy_error) * batch.n_atoms.numel()
        forces += float(result.forces_error) * len(batch.elements)
        atoms += len(batch.elements)
        virial += float(result.virial_error) * float(batch.has_stress.sum())
        known += float(batch.has_stress.sum())
    network.train()
    return energy / len(dataset.frames), forces / atoms, virial / max(known, 1)
