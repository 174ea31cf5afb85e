"""What is measured on the data before a run, and the network made with it."""

import logging
from dataclasses import replace
from pathlib import Path

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
from tdncalc.checkpoint import read_card
from tdncalc.errors import ConfigError
from tdncalc.published.config import PublishedConfig
from tdncalc.tdn import TDN
from tdncalc.training.config import TrainConfig
from tdncalc.training.data import load_sets, pack_sets
from tdncalc.training.finetuning import start_from, unexplained
from tdncalc.training.frames import Frames
from tdncalc.training.levels import LevelFit, alone, fit_levels
from tdncalc.training.processes import Processes
from tdncalc.training.scaling import limit_gathered

__all__ = [
    "average_neighbors",
    "check_known",
    "load_data",
    "make_network",
    "set_shortest_distances",
    "warn_of_isolated",
    "warn_of_shared",
    "warn_of_unseen",
    "with_every_element",
]

logger = logging.getLogger(__name__)

_SAMPLE = 2000
_OF_EACH = 20  # structures that hold an element, to fit its reference energy to
_LOOKED_AT = 250_000


def load_data(config: TrainConfig, folder: Path, processes: Processes) -> tuple[Frames, Frames]:
    """Read what to train on and what to validate on; the first process does the packing.

    Raises
    ------
    DataError
        A file is missing or cannot be read.
    ConfigError
        There are too few structures for a batch of every process, or no stress to learn.
    """
    data, root, names = config.data, config.data_root(), config.data.levels()
    if data.packed:
        if not processes.first:
            processes.wait()
        train_frames = pack_sets(data.train_sets(), names, root, folder / "data")
        if processes.first:
            processes.wait()
    else:
        train_frames = load_sets(data.train_sets(), names, root)
    if config.optimizer.stress_weight and not any(
        block.has_stress().any() for block in train_frames.blocks()
    ):
        raise ConfigError("optimizer: stress_weight is set, but no structure has a stress")
    if data.valid_fraction:
        train_frames, valid_frames = _held_out(config, train_frames)
    else:
        valid_frames = load_sets(data.valid, names, root)
    size = config.optimizer.batch_size
    if processes.size > 1 and len(train_frames) < size * processes.size:
        raise ConfigError(
            f"{len(train_frames)} structures are too few for {processes.size} processes with "
            f"{size} each; take smaller batches"
        )
    return train_frames, valid_frames.evenly(data.valid_limit)


def _held_out(config: TrainConfig, frames: Frames) -> tuple[Frames, Frames]:
    """Split off what to validate on, of all sets but what is replayed."""
    data = config.data
    own = np.flatnonzero(frames.level < len(data.train))
    size = max(1, round(data.valid_fraction * len(own)))
    order = np.random.default_rng(config.optimizer.seed).permutation(own)
    # of each set one is learned from: without any, its level is not known
    last = [order[frames.level[order] == level][-1] for level in range(len(data.train))]
    drawn = np.setdiff1d(order[:size], last)
    if size >= len(own) or not len(drawn):
        raise ConfigError(
            f"data: too few structures ({len(own)}) to hold out {data.valid_fraction:g} of them"
        )
    rest = np.setdiff1d(np.arange(len(frames)), drawn)
    return frames.take(rest), frames.take(drawn)


def make_network(config: TrainConfig, frames: Frames) -> tuple[Network, LevelFit]:
    """Make a network with seeded weights, and references and normalization measured on the data.

    One that goes on from a model has that model's weights and normalization; its references are
    fitted to what the data's energies are beyond the model's interaction energies.

    Returns
    -------
    tuple
        The network, and the reference energies of it and of the other sets of the data.
    """
    network = start_from(config.start, config.model) if config.start else _new(config, frames)
    check_known(frames, network)
    if isinstance(network, TDN):
        known = read_card(config.start)["elements"] if config.start else []
        n_known = sum(symbol in known for symbol in network.config.elements)
        set_shortest_distances(network, frames, n_known)
        if not config.start:
            limit_gathered(network, frames)
    fitted = _fit(config, network, frames)
    references = torch.zeros(len(network.reference_energies), dtype=torch.float64)
    references[network.element_indices(_numbers(network))] = torch.from_numpy(fitted.references)
    network.reference_energies = references
    return network, fitted


def _new(config: TrainConfig, frames: Frames) -> Network:
    settings = parse_config(config.architecture, config.model)
    measured = {**_measured(settings, frames), **config.model}
    settings = parse_config(config.architecture, measured)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimizer.seed)
        return build_network(settings, new_coupling(settings)).float()


def _fit(config: TrainConfig, network: Network, frames: Frames) -> LevelFit:
    """Fit the references and levels; of a given network to what it leaves unexplained.

    Atoms that are alone have the references of a new network. A given one counts its energies from
    others, and atoms that are alone tell nothing of what it leaves unexplained in molecules.
    """
    elements, n_levels = network.config.elements, len(config.data.levels())
    cutoff = network.config.cutoff
    if not config.start:
        apart = cutoff if isinstance(network, TDN) else None  # others have an energy of their own
        return fit_levels(frames, elements, n_levels, apart)
    numbers = _numbers(network)
    sample = with_every_element(frames, numbers.tolist(), n_levels)
    bound = np.flatnonzero(~alone(sample, cutoff))
    sample = sample.take(bound) if len(bound) else sample
    known = network.reference_energies[network.element_indices(numbers)].numpy()
    change = fit_levels(unexplained(network, sample), elements, n_levels)
    return replace(change, references=known + change.references)


def with_every_element(frames: Frames, numbers: list[int], n_levels: int) -> Frames:
    """Return evenly spaced structures, and some more of each element of each set."""
    chosen = set(frames.even_places(_SAMPLE).tolist())
    missing = np.full((n_levels, len(numbers)), _OF_EACH)
    first = 0
    for block in frames.blocks():
        holds = block.counts(numbers) > 0
        for level, element in np.argwhere(missing > 0):
            own = np.flatnonzero(holds[:, element] & (block.level == level))
            own = own[: missing[level, element]]
            missing[level, element] -= len(own)
            chosen.update((first + own).tolist())
        first += len(block)
    return frames.take(sorted(chosen))


def _measured(settings: NetworkConfig, frames: Frames) -> dict[str, float]:
    """Measure the settings that normalize a network; those of a configuration go before them."""
    neighbors = average_neighbors(frames, settings.cutoff)
    if isinstance(settings, PublishedConfig):
        return {"n_avg": float(frames.n_atoms().mean()), "d_avg": neighbors}
    return {"n_neighbors": neighbors, "energy_scale": _energy_scale(frames)}


def _energy_scale(frames: Frames) -> float:
    """Return the root mean square force times 1 Å, in eV; 1 where crystals at rest have none."""
    squares = sum(float(np.square(block.forces).sum()) for block in frames.blocks())
    scale = float(np.sqrt(squares / frames.forces.size))
    return scale if scale > 1e-3 else 1.0


def _numbers(network: Network) -> torch.Tensor:
    """Return the atomic numbers of the elements of a network, (n_elements,) int64."""
    return torch.tensor([ase.data.atomic_numbers[symbol] for symbol in network.config.elements])


def set_shortest_distances(network: TDN, frames: Frames, n_known: int = 0) -> None:
    """Tell the network how near each pair of elements comes in the data.

    The first `n_known` elements have been measured before, on other data: what is nearer counts.
    Of more than a quarter of a million structures so many, evenly spaced, are looked at.
    """
    frames = frames.evenly(_LOOKED_AT)
    places = network.places.cpu().numpy()
    shortest = np.full((len(network.config.elements),) * 2, np.inf)
    for index in range(len(frames)):
        kinds = places[frames.numbers[frames.starts[index] : frames.starts[index + 1]]]
        pairs, vectors = frames.edges(index, network.config.cutoff)
        np.minimum.at(shortest, tuple(kinds[pairs]), np.linalg.norm(vectors, axis=1))
    known = torch.from_numpy(shortest)
    before = network.repulsion.shortest
    known[:n_known, :n_known] = known[:n_known, :n_known].minimum(before[:n_known, :n_known].cpu())
    network.repulsion.measured(torch.where(known.isfinite(), known, before.cpu()))


def average_neighbors(frames: Frames, cutoff: float) -> float:
    """Return the mean number of neighbors of an atom, over evenly spaced structures.

    Raises a ConfigError if of the atoms that are not alone none has a neighbor.
    """
    sample = frames.evenly(_SAMPLE)
    edges = sum(sample.edges(index, cutoff)[0].shape[1] for index in range(len(sample)))
    if edges == 0 and (sample.n_atoms() > 1).any():
        raise ConfigError(
            f"model: cutoff is {cutoff:g} Å, and no two atoms of the data are as near; 4.5 to 6 Å "
            "is usual"
        )
    return max(float(edges) / len(sample.numbers), 1.0)


def check_known(frames: Frames, network: Network) -> None:
    """Raise a ConfigError if the data hold an element that the network does not know."""
    if missing := sorted(_held(frames) - set(network.config.elements)):
        known = " ".join(network.config.elements)
        raise ConfigError(
            f"the data hold {missing[0]}, which is not among the model's elements ({known}); add "
            "it to elements under model, or leave out the structures that hold it"
        )


def warn_of_unseen(frames: Frames, network: Network, start: str) -> None:
    """Warn of elements that the network is to know and no structure to train on holds.

    A network that goes on from a model, `start`, knows them from there, at another level of theory.
    """
    held = _held(frames)
    unseen = [symbol for symbol in network.config.elements if symbol not in held]
    if unseen and start:
        logger.warning(
            "no structure to train on holds %s: the model goes on to claim what %s says of them; "
            "to leave them out, set drop_elements: [%s] under model",
            " ".join(unseen),
            start,
            ", ".join(unseen),
        )
    elif unseen:
        logger.warning(
            "no structure to train on holds %s: the model would claim to know what it never saw; "
            "take out of model: elements what the data do not hold",
            " ".join(unseen),
        )


def warn_of_isolated(frames: Frames, network: Network, start: str) -> None:
    """Warn of atoms that are alone, whose energies one that goes on from a model cannot learn."""
    if not start:
        return
    n = sum(int(alone(block, network.config.cutoff).sum()) for block in frames.blocks())
    if 0 < n < len(frames):
        logger.warning(
            "%d of the structures to train on are atoms without neighbors: %s counts energies from "
            "other references, and keeps them",
            n,
            start,
        )


def warn_of_shared(train_frames: Frames, valid_frames: Frames) -> None:
    """Warn of structures to validate on that are also learned from."""
    held_out = {valid_frames.geometry(index) for index in range(len(valid_frames))}
    shared = set()
    for block in train_frames.blocks():
        alike = np.flatnonzero(np.isin(block.energy, valid_frames.energy))
        shared |= held_out.intersection(block.geometry(int(index)) for index in alike)
    if shared:
        logger.warning(
            "%d of %d structures to validate on are among those to train on: their errors say "
            "nothing of other structures",
            len(shared),
            len(held_out),
        )


def _held(frames: Frames) -> set[str]:
    numbers = {int(z) for block in frames.blocks() for z in np.unique(block.numbers)}
    return {ase.data.chemical_symbols[z] for z in numbers}
