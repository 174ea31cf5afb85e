"""Going on from a model: its network, grown if need be, and its reference energies."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import ase.data
import numpy as np
import torch

from tdncalc.architectures import Network, in_single_precision
from tdncalc.checkpoint import load_network, read_card
from tdncalc.errors import ConfigError
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.frames import Floats, Frames
from tdncalc.training.growing import GROWS, grow

__all__ = ["COSTS", "interaction_energies", "origin", "spent", "start_from", "unexplained"]

COSTS = ("seconds", "steps")  # of a training
_AT_ONCE = 64


def start_from(model: str, settings: Mapping[str, Any]) -> Network:
    """Load the network to go on from, with what a configuration adds to it.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    settings
        Of the configuration's ``model`` section: nothing, or what `grow` takes.

    Raises
    ------
    ConfigError
        The settings would change the network otherwise, or it cannot be given what they add.
    ModelNotFoundError, DamagedModelError
        There is no such model, or it cannot be read.
    """
    network = in_single_precision(load_network(model))
    if changed := sorted(set(settings) - set(GROWS)):
        raise ConfigError(
            f"model: {changed[0]} cannot be set, a run from {model!r} has that model's network; "
            "only elements, layers and channels can be added, and elements dropped"
        )
    if isinstance(network, TDN):
        network.unbind()  # from its old training set
    return grow(network, settings)


def unexplained(network: Network, frames: Frames) -> Frames:
    """Return the structures with what a network leaves of their energies, (S,) in eV."""
    numbers = [ase.data.atomic_numbers[symbol] for symbol in network.config.elements]
    references = network.reference_energies[network.element_indices(torch.tensor(numbers))].numpy()
    known = interaction_energies(network, frames) + frames.counts(numbers) @ references
    return replace(frames, energy=frames.energy - known)


def interaction_energies(network: Network, frames: Frames) -> Floats:
    """Return what a network gives without its reference energies, (S,) in eV."""
    potential = Potential(
        deepcopy(network),  # a potential freezes its network
        {"name": "start"},
        device=torch.device("cpu"),
        dtype=torch.float32,
        evaluation="eager",
    )
    numbers = [ase.data.atomic_numbers[symbol] for symbol in network.config.elements]
    places = network.element_indices(torch.tensor(numbers))
    references = network.reference_energies[places].numpy()
    found = np.zeros(len(frames))
    for start in range(0, len(frames), _AT_ONCE):
        chosen = range(start, min(start + _AT_ONCE, len(frames)))
        results = potential.evaluate([frames.atoms(i) for i in chosen], properties=("energy",))
        found[chosen.start : chosen.stop] = [result["energy"] for result in results]
    return np.asarray(found - frames.counts(numbers) @ references)


def origin(model: str) -> dict[str, str]:
    """Return, for the card, which model a run went on from."""
    card = read_card(model)
    return {"model": str(card["name"]), "sha256": str(card["sha256"])}


def spent(model: str) -> dict[str, float]:
    """Return what a model and those that it went on from took, as far as their cards tell."""
    training = read_card(model).get("training", {})
    total = training.get("total", training)
    return {name: total.get(name, 0) for name in COSTS}
