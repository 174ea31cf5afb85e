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
from tdncalc.training.data import Floats, Frames

__all__ = [
    "average_neighbors",
    "check_known",
    "fit_references",
    "make_network",
    "reference_table",
    "set_shortest_distances",
]

_SAMPLE = 2000
_TABLE = len(ase.data.chemical_symbols)


def make_network(config: TrainConfig, frames: Frames) -> Network:
    """Make a network with seeded weights, and references and normalization measured on the data."""
    settings = parse_config(config.architecture, config.model)
    measured = {**_measured(settings, frames), **config.model}
    settings = parse_config(config.architecture, measured)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimizer.seed)
        network = build_network(settings, new_coupling(settings)).float()
    check_known(frames, network)
    fitted = torch.from_numpy(fit_references(frames, settings.elements))
    references = torch.zeros(len(network.reference_energies), dtype=torch.float64)
    references[network.element_indices(_numbers(network))] = fitted
    network.reference_energies = references
    if isinstance(network, TDN):
        set_shortest_distances(network, frames)
    return network


def _measured(settings: NetworkConfig, frames: Frames) -> dict[str, float]:
    """Measure the settings that normalize a network; those of a configuration go before them."""
    neighbors = average_neighbors(frames, settings.cutoff)
    if isinstance(settings, PublishedConfig):
        return {"n_avg": float(frames.n_atoms().mean()), "d_avg": neighbors}
    return {"n_neighbors": neighbors, "energy_scale": float(np.sqrt(np.mean(frames.forces**2)))}


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


def fit_references(frames: Frames, elements: tuple[str, ...]) -> Floats:
    """Return an energy per element, by least squares on the total energies, (n_elements,) in eV."""
    counts = frames.counts([ase.data.atomic_numbers[symbol] for symbol in elements])
    fitted = np.linalg.lstsq(counts.astype(np.float64), frames.energy, rcond=None)[0]
    return fitted.astype(np.float64)


def reference_table(network: Network) -> Floats:
    """Return the reference energies by atomic number, (119,)."""
    table = np.zeros(_TABLE)
    numbers = _numbers(network)
    places = network.element_indices(numbers.to(network.reference_energies.device))
    table[numbers] = network.reference_energies[places].cpu().numpy()
    return table


def check_known(frames: Frames, network: Network) -> None:
    """Raise a ConfigError if the data hold an element that the network does not know."""
    present = {ase.data.chemical_symbols[z] for z in np.unique(frames.numbers)}
    if missing := sorted(present - set(network.config.elements)):
        known = " ".join(network.config.elements)
        raise ConfigError(
            f"the data hold {missing[0]}, which is not among the model's elements ({known})"
        )
