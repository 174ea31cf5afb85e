"""Going on from a model: its network, grown by elements and layers, and its reference energies."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import ase.data
import numpy as np
import torch
from torch import Tensor

from tdncalc.architectures import Network, architecture, build_network
from tdncalc.checkpoint import load_network, read_card
from tdncalc.errors import ConfigError
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.frames import Floats, Frames

__all__ = ["deepen", "extend", "interaction_energies", "origin", "start_from"]

_AT_ONCE = 64
_GROWS = ("elements", "n_layers")
# Weights that are zero in a layer that adds nothing.
_CLOSED = ("product.linear.weight", "update.scalars", "update.gates")


def start_from(model: str, settings: Mapping[str, Any]) -> Network:
    """Load the network to go on from, with the elements and layers that a configuration adds.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    settings
        Of the configuration's ``model`` section: nothing, or ``elements``, of which those that the
        model does not know are appended and all of its own are kept, and ``n_layers``.

    Raises
    ------
    ConfigError
        The settings would change the network otherwise, or it cannot be given new elements.
    ModelNotFoundError, DamagedModelError
        There is no such model, or it cannot be read.
    """
    network = load_network(model)
    references = network.reference_energies.double()
    network = network.float()
    network.reference_energies = references
    if changed := sorted(set(settings) - set(_GROWS)):
        raise ConfigError(
            f"model: {changed[0]} cannot be set, a run from {model!r} has that model's network; "
            "only elements and layers can be added"
        )
    known = network.config.elements
    added = tuple(symbol for symbol in settings.get("elements", ()) if symbol not in known)
    if unknown := [symbol for symbol in added if symbol not in ase.data.atomic_numbers]:
        raise ConfigError(f"model: {unknown[0]!r} is no element")
    network = extend(network, added) if added else network
    return deepen(network, settings["n_layers"]) if "n_layers" in settings else network


def deepen(network: Network, n_layers: int) -> Network:
    """Return a network with more layers that computes the same.

    Before the last layer come new ones that hand on what they get: what they would add is
    multiplied by zero, and grows from there (as in Net2Net, T. Chen et al., arXiv:1511.05641).

    Raises
    ------
    ConfigError
        There are more layers already, or the network is of an architecture that has no such layers.
    """
    if not isinstance(network, TDN):
        name = architecture(network.config)
        raise ConfigError(f"a network of architecture {name!r} cannot be given new layers")
    before = network.config.n_layers
    if before < 2 or not isinstance(n_layers, int) or n_layers < before:
        raise ConfigError(
            f"model: n_layers is {n_layers!r}, but must be {max(before, 2)} or more: layers are "
            f"only added, and before the last of at least two; the model has {before}"
        )
    with torch.random.fork_rng(devices=[]):
        deeper = build_network(replace(network.config, n_layers=n_layers), network.coupling).float()
    assert isinstance(deeper, TDN)
    kept = {_moved(name, before - 1, n_layers - 1): v for name, v in network.state_dict().items()}
    deeper.load_state_dict({**deeper.state_dict(), **kept})
    deeper.reference_energies = network.reference_energies.double()
    with torch.no_grad():
        for layer in range(before - 1, n_layers - 1):
            for name in _CLOSED:
                deeper.interactions[layer].get_parameter(name).zero_()
            for name in ("linear", "outer"):
                deeper.readouts[layer].get_parameter(name).zero_()
    return deeper


def _moved(name: str, old: int, new: int) -> str:
    """Return the name that an entry of the last layer has when that has another number."""
    part, _, rest = name.partition(".")
    number, _, rest = rest.partition(".")
    moves = part in ("interactions", "readouts") and number == str(old)
    return f"{part}.{new}.{rest}" if moves else name


def extend(network: Network, added: tuple[str, ...]) -> TDN:
    """Return a network that knows more elements and computes the same for those it knew.

    What the network has for each element, a new element gets as the mean of those it knew; the
    shortest distances of its pairs are sums of covalent radii until they are measured.

    Raises
    ------
    ConfigError
        The network is of an architecture with a fixed table of elements.
    """
    if not isinstance(network, TDN):
        name = architecture(network.config)
        raise ConfigError(f"a network of architecture {name!r} cannot be given new elements")
    config = replace(network.config, elements=(*network.config.elements, *added))
    with torch.random.fork_rng(devices=[]):
        wider = build_network(config, network.coupling).float()
    assert isinstance(wider, TDN)
    state = wider.state_dict()
    for name, old in network.state_dict().items():
        state[name] = _widened(old, state[name], mean=name != "repulsion.shortest")
    wider.load_state_dict(state)
    none_yet = torch.zeros(len(added), dtype=torch.float64)
    wider.reference_energies = torch.cat([network.reference_energies.double(), none_yet])
    return wider


def _widened(old: Tensor, new: Tensor, *, mean: bool) -> Tensor:
    """Return the old values where there are, and means of them, or the new ones, beyond."""
    if old.shape == new.shape:
        return old
    result = new.clone()
    if mean:
        axis = next(i for i, size in enumerate(new.shape) if size != old.shape[i])
        result.copy_(old.mean(axis, keepdim=True).expand_as(new))
    result[tuple(slice(size) for size in old.shape)] = old
    return result


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
