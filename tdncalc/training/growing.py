"""Larger networks that compute what a smaller one does, and some that know fewer elements."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tdncalc.architectures import Network, architecture, build_network
from tdncalc.errors import ConfigError
from tdncalc.settings import chemical_symbols
from tdncalc.tdn import TDN, TDNConfig

__all__ = ["GROWS", "deepen", "extend", "grow", "narrow", "widen"]

# What a configuration may change in a network that it goes on from.
GROWS = ("drop_elements", "elements", "n_layers", "channels", "edge_channels", "hidden")
# Weights that are zero in a layer that adds nothing.
_CLOSED = ("product.linear.weight", "update.scalars", "update.gates")
_WIDTHS = ("channels", "edge_channels", "hidden")
# Entries of a state that mix no channels: they have one row for each element.
_TABLES = (
    *("embedding", "source", "target", "residual", "weights"),
    *("shortest", "reach", "reference_energies", "lowest", "largest"),
)


def grow(network: Network, settings: Mapping[str, Any]) -> Network:
    """Return a network with the elements, layers and channels that settings name, of `GROWS`.

    Elements that it does not know are appended, and all of its own are kept but those of
    ``drop_elements``. It computes the same for the elements that it knew.

    Raises
    ------
    ConfigError
        The network cannot be given them, or is larger already.
    """
    if "drop_elements" in settings:
        network = narrow(
            network, chemical_symbols(settings["drop_elements"], "model: drop_elements")
        )
    named = chemical_symbols(settings.get("elements", ()), "model: elements")
    added = tuple(symbol for symbol in named if symbol not in network.config.elements)
    if added:
        network = extend(network, added)
    if "n_layers" in settings:
        network = deepen(network, settings["n_layers"])
    widths = {name: settings[name] for name in _WIDTHS if name in settings}
    return widen(network, widths) if widths else network


def deepen(network: Network, n_layers: int) -> Network:
    """Return a network with more layers that computes the same.

    Before the last layer come new ones that hand on what they get: what they would add is
    multiplied by zero, and grows from there (as in Net2Net, T. Chen et al., arXiv:1511.05641).

    Raises
    ------
    ConfigError
        There are more layers already, or the network is of an architecture that has no such layers.
    """
    config = _own(network, "layers").config
    before = config.n_layers
    if before < 2 or not isinstance(n_layers, int) or n_layers < before:
        raise ConfigError(
            f"model: n_layers is {n_layers!r}, but must be {max(before, 2)} or more: layers are "
            f"only added, and before the last of at least two; the model has {before}"
        )
    deeper = _like(network, replace(config, n_layers=n_layers))
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


def widen(network: Network, widths: Mapping[str, int]) -> Network:
    """Return a network with more channels that computes the same.

    What was there is not told of the new channels: the weights from them to it are zero, and grow
    from there, while the new channels read all (as in Net2Net, T. Chen et al., arXiv:1511.05641).

    Parameters
    ----------
    network
        The network, which is left as it is.
    widths
        ``channels``, ``edge_channels`` and ``hidden`` of the result, or some of them.

    Raises
    ------
    ConfigError
        A width is smaller than it was, or the network is of an architecture with other widths.
    """
    config = _own(network, "channels").config
    for name, width in widths.items():
        before = getattr(config, name)
        if not isinstance(width, int) or width < before:
            raise ConfigError(
                f"model: {name} is {width!r}, but must be {before} or more: channels are only "
                f"added; the model has {before}"
            )
    wider = _like(network, TDNConfig.from_dict(config.to_dict() | dict(widths)))
    state = wider.state_dict()
    for name, old in network.state_dict().items():
        _place(name, _by_degree(name, old, config), _by_degree(name, state[name], wider.config))
    wider.reference_energies = network.reference_energies.double()
    return wider


def _by_degree(name: str, weights: Tensor, config: TDNConfig) -> Tensor:
    """View weights whose columns are channels of several degrees as a matrix for each degree."""
    columns = {"radial.out": config.edge_channels, "update.gates": config.channels}
    for end, channels in columns.items():
        if name.endswith(end):
            apart: Tensor = weights.unflatten(1, (-1, channels))  # (H, degrees, C)
            return apart.transpose(0, 1)
    return weights


def _place(name: str, old: Tensor, new: Tensor) -> None:
    """Put old weights into larger ones; where these mix, the new channels do not reach the old."""
    if name.rpartition(".")[2] not in _TABLES:
        new[..., old.shape[-2] :, : old.shape[-1]] = 0.0
    new[tuple(slice(size) for size in old.shape)] = old


def extend(network: Network, added: tuple[str, ...]) -> TDN:
    """Return a network that knows more elements and computes the same for those it knew.

    What the network has for each element, a new element gets as the mean of those it knew; the
    shortest distances and reaches of its pairs are sums of covalent radii until they are measured.

    Raises
    ------
    ConfigError
        The network is of an architecture with a fixed table of elements.
    """
    config = _own(network, "elements").config
    wider = _like(network, replace(config, elements=(*config.elements, *added)))
    measured = {"repulsion.shortest", "repulsion.reach", *wider.bounds()}
    state = wider.state_dict()
    for name, old in network.state_dict().items():
        state[name] = _widened(old, state[name], mean=name not in measured)
    wider.load_state_dict(state)
    none_yet = torch.zeros(len(added), dtype=torch.float64)
    wider.reference_energies = torch.cat([network.reference_energies.double(), none_yet])
    return wider


def narrow(network: Network, dropped: Collection[str]) -> TDN:
    """Return a network without some elements that computes the same for the others.

    Raises
    ------
    ConfigError
        It does not know one of them, or knows no others.
    """
    config = _own(network, "elements").config
    if unknown := [symbol for symbol in dropped if symbol not in config.elements]:
        raise ConfigError(
            f"model: drop_elements has {unknown[0]!r}, which the model does not know; it knows "
            f"{' '.join(config.elements)}"
        )
    kept = [i for i, symbol in enumerate(config.elements) if symbol not in dropped]
    if not kept:
        raise ConfigError("model: drop_elements leaves no element")
    elements = tuple(config.elements[i] for i in kept)
    smaller = _like(network, replace(config, elements=elements))
    places = torch.tensor(kept)
    state = smaller.state_dict()
    for name, old in network.state_dict().items():
        for axis, size in enumerate(state[name].shape):
            old = old if old.shape[axis] == size else old.index_select(axis, places)
        state[name] = old
    smaller.load_state_dict(state)
    smaller.reference_energies = network.reference_energies.double()[places]
    return smaller


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


def _own(network: Network, what: str) -> TDN:
    if not isinstance(network, TDN):
        name = architecture(network.config)
        raise ConfigError(f"a network of architecture {name!r} cannot be given new {what}")
    return network


def _like(network: Network, config: TDNConfig) -> TDN:
    """Return a network with random weights; the caller's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        made = build_network(config, network.coupling).float()
    assert isinstance(made, TDN)
    return made
