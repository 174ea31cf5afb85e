"""Errors on the structures that are held out during training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tdncalc.architectures import Network
from tdncalc.training.data import GraphDataset, make_batch
from tdncalc.training.step import Step

__all__ = ["HeldOutErrors", "held_out_errors"]


@dataclass(frozen=True)
class HeldOutErrors:
    """Mean absolute errors, and the loss that is descended.

    Attributes
    ----------
    energy, forces, virial
        In eV/atom, of force components in eV/Å, and in eV/atom: NaN where no stress is known.
    loss
        Mean over the structures. With an error below its bend it grows by the square: an energy's
        error that wanders by chance from one validation to the next does not outweigh the forces.
    """

    energy: float
    forces: float
    virial: float
    loss: float


def held_out_errors(
    step: Step,
    network: Network,
    parameters: Sequence[Tensor],
    dataset: GraphDataset,
    batch_size: int,
    energy_weight: float,
) -> HeldOutErrors:
    """Return the errors of a network with these parameters, the loss with this energy weight."""
    device = parameters[0].device
    balance = torch.tensor([energy_weight, 1.0], device=device)
    energy = forces = virial = loss = atoms = known = 0.0
    network.eval()  # no dropout
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        batch = make_batch(dataset.batch(indices), network, device)
        result = step(parameters, batch, balance)
        loss += float(result.loss) * batch.n_atoms.numel()
        energy += float(result.energy_error) * batch.n_atoms.numel()
        forces += float(result.forces_error) * len(batch.elements)
        atoms += len(batch.elements)
        virial += float(result.virial_error) * float(batch.has_stress.sum())
        known += float(batch.has_stress.sum())
    network.train()
    size = len(dataset.frames)
    virial = virial / known if known else math.nan
    return HeldOutErrors(energy / size, forces / atoms, virial, loss / size)
