"""Networks of other packages, as energies (B,) in eV and forces (N, 3) in eV/Å of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from peers.torchmdnet import SIZES
from torch import Tensor, nn

from harness.random_mace import mace_network

__all__ = ["NETWORKS", "Contender", "Molecules"]

ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53)


@dataclass(frozen=True)
class Molecules:
    """B molecules, N atoms, E edges j -> i.

    Attributes
    ----------
    numbers, positions, owner
        Atomic numbers (N,), Å (N, 3), molecule of each atom (N,).
    edges
        [source j, target i], (2, E).
    """

    numbers: Tensor
    positions: Tensor
    owner: Tensor
    edges: Tensor


Predict = Callable[[Molecules], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Contender:
    """A network with its usual learning rate, for Adam, and its cutoff in Å."""

    network: nn.Module
    predict: Predict
    learning_rate: float
    cutoff: float


def mace() -> Contender:
    """Return MACE in the size of MACE-OFF23 small (arXiv:2312.15211)."""
    network = mace_network(
        list(ELEMENTS), channels=96, cutoff=4.5, n_radial=8, n_neighbors=13.0, energy_scale=1.6
    )

    def predict(batch: Molecules) -> tuple[Tensor, Tensor]:
        kinds = torch.nn.functional.one_hot(_places(batch.numbers), len(ELEMENTS)).float()
        sizes = torch.bincount(batch.owner)
        found = network(
            {
                "positions": batch.positions,
                "node_attrs": kinds,
                "edge_index": batch.edges,
                "shifts": torch.zeros(batch.edges.shape[1], 3),
                "unit_shifts": torch.zeros(batch.edges.shape[1], 3),
                "cell": torch.zeros(3 * len(sizes), 3),
                "batch": batch.owner,
                "ptr": torch.nn.functional.pad(sizes.cumsum(0), (1, 0)),
            },
            training=network.training,
        )
        return found["energy"], found["forces"]

    return Contender(network, predict, 1e-2, 4.5)


def tensornet() -> Contender:
    """Return TensorNet of TorchMD-Net in its published size (arXiv:2306.06482)."""
    from torchmdnet.models.model import create_model

    network = create_model(dict(SIZES))

    def predict(batch: Molecules) -> tuple[Tensor, Tensor]:
        energy, forces = network(batch.numbers, batch.positions, batch=batch.owner)
        return energy[:, 0], forces

    return Contender(network, predict, 1e-3, 4.5)


def nequip() -> Contender:
    """Return NequIP of three layers of 64 features, l_max 1 (arXiv:2101.03164)."""
    from ase.data import chemical_symbols
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    network = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        r_max=5.0,
        type_names=[chemical_symbols[number] for number in ELEMENTS],
        num_layers=3,
        l_max=1,
        num_features=64,
        avg_num_neighbors=16.7,
        per_type_energy_scales=1.6,
    )

    def predict(batch: Molecules) -> tuple[Tensor, Tensor]:
        found = network(
            {
                "pos": batch.positions.double(),
                "atom_types": _places(batch.numbers),
                "edge_index": batch.edges.flip(0),  # its first row are the centers
                "batch": batch.owner,
                "num_atoms": torch.bincount(batch.owner),
            }
        )
        return found["total_energy"][:, 0].float(), found["forces"].float()

    return Contender(network, predict, 5e-3, 5.0)


NETWORKS = {"mace": mace, "tensornet": tensornet, "nequip": nequip}


def _places(numbers: Tensor) -> Tensor:
    return torch.searchsorted(torch.tensor(ELEMENTS), numbers)
