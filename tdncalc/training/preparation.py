"""What is measured on the data before a run, and the network made with it."""

import ase.data
import numpy as np
import torch

from tdncalc.architectures import (
    Network,
    NetworkConfig,
    build_network,
    new_coupling,
    parse_config,
)
from tdncalc.errors import ConfigError
from tdncalc.published.config import PublishedConfig
from tdncalc.tdn import TDN
from tdncalc.training.config import TrainConfig
from tdncalc.training.data import Frames
from tdncalc.training.levels import LevelFit, fit_levels

__all__ = [
    "average_neighbors",
    "check_known",
    "make_network",
    "set_shortest_distances",
]

_SAMPLE = 2000


def make_network(config: TrainConfig, frames: Frames) -> tuple[Network, LevelFit]:
    """Make a network with seeded weights, and references and normalization measured on the data.

    Returns
    -------
    tuple
        The network, and the reference energies of it and of the other sets of the data.
    """
    settings = parse_config(config.architecture, config.model)
    measured = {**_measured(settings, frames), **config.model}
    settings = parse_config(config.architecture, measured)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimizer.seed)
        network = build_network(settings, new_coupling(settings)).float()
    check_known(frames, network)
    fitted = fit_levels(frames, settings.elements, len(config.data.train))
    references = torch.zeros(len(network.reference_energies), dtype=torch.float64)
    references[network.element_indices(_numbers(network))] = torch.from_numpy(fitted.references)
    network.reference_energies = references
    if isinstance(network, TDN):
        set_shortest_distances(network, frames)
    return network, fitted


def _measured(settings: NetworkConfig, frames: Frames) -> dict[str, float]:
    """Measure the settings that normalize a network; those of a configuration go before them."""
    neighbors = average_neighbors(frames, settings.cutoff)
    if isinstance(settings, PublishedConfig):
        return {"n_avg": float(frames.n_atoms().mean()), "d_avg": neighbors}
    return {"n_neighbors": neighbors, "energy_scale": _energy_scale(frames)}


def _energy_scale(frames: Frames) -> float:
    """Return the root mean square force times 1 Å, in eV; 1 where crystals at rest have none."""
    scale = float(np.sqrt(np.mean(frames.forces**2)))
    return scale if scale > 1e-3 else 1.0


def _numbers(network: Network) -> torch.Tensor:
    """Return the atomic numbers of the elements of a network, (n_elements,) int64."""
    return torch.tensor([ase.data.atomic_numbers[symbol] for symbol in network.config.elements])


def set_shortest_distances(network: TDN, frames: Frames) -> None:
    """Tell the network how near each pair of elements comes in the data."""
    places = network.places.cpu().numpy()
    shortest = np.full((len(network.config.elements),) * 2, np.inf)
    for index in range(len(frames)):
        kinds = places[frames.numbers[frames.starts[index] : frames.starts[index + 1]]]
        pairs, vectors = frames.edges(index, network.config.cutoff)
        np.minimum.at(shortest, tuple(kinds[pairs]), np.linalg.norm(vectors, axis=1))
    known = torch.from_numpy(shortest)
    bonded = network.repulsion.shortest
    network.repulsion.shortest = torch.where(known.isfinite(), known, bonded).to(bonded)


def average_neighbors(frames: Frames, cutoff: float) -> float:
    """Return the mean number of neighbors of an atom, over evenly spaced structures."""
    sample = frames.evenly(_SAMPLE)
    edges = sum(sample.edges(index, cutoff)[0].shape[1] for index in range(len(sample)))
    return max(float(edges) / len(sample.numbers), 1.0)


def check_known(frames: Frames, network: Network) -> None:
    """Raise a ConfigError if the data hold an element that the network does not know."""
    present = {ase.data.chemical_symbols[z] for z in np.unique(frames.numbers)}
    if missing := sorted(present - set(network.config.elements)):
        known = " ".join(network.config.elements)
        raise ConfigError(
            f"the data hold {missing[0]}, which is not among the model's elements ({known})"
        )
