"""The networks that a model folder may hold, by the name in its card."""

from dataclasses import replace
from typing import Any, TypeAlias, get_args

from tdncalc.errors import ConfigError, OptionError
from tdncalc.nn.coupling import Coupling, build_coupling
from tdncalc.nn.tensor_product import Evaluation
from tdncalc.published.config import Product, PublishedConfig
from tdncalc.published.network import PublishedTDN, published_coupling
from tdncalc.tdn import TDN, TDNConfig

__all__ = [
    "ARCHITECTURES",
    "Network",
    "NetworkConfig",
    "architecture",
    "build_network",
    "in_single_precision",
    "new_coupling",
    "parse_config",
    "traits",
    "with_product",
]

Network: TypeAlias = TDN | PublishedTDN
NetworkConfig: TypeAlias = TDNConfig | PublishedConfig

ARCHITECTURES: dict[str, type[NetworkConfig]] = {"tdn": TDNConfig, "published": PublishedConfig}


def parse_config(name: str, settings: dict[str, Any]) -> NetworkConfig:
    """Make the configuration of an architecture from plain types.

    Raises
    ------
    ConfigError
        There is no such architecture, or a setting is unknown or impossible.
    """
    if name not in tuple(ARCHITECTURES):  # a list from a file has no hash
        allowed = ", ".join(ARCHITECTURES)
        raise ConfigError(f"architecture {name!r} is not known; allowed: {allowed}")
    return ARCHITECTURES[name].from_dict(settings)


def build_network(config: NetworkConfig, coupling: Coupling) -> Network:
    """Make the network of a configuration, with random weights."""
    if isinstance(config, PublishedConfig):
        return PublishedTDN(config, coupling)
    return TDN(config, coupling)


def in_single_precision(network: Network) -> Network:
    """Cast a network to float32, but for its reference energies, of which no digit is to go."""
    references = network.reference_energies.double()
    network = network.float()
    network.reference_energies = references
    return network


def new_coupling(config: NetworkConfig) -> Coupling:
    """Return the coupling tensor, with factors, that a new network of a configuration gets."""
    if isinstance(config, PublishedConfig):
        return published_coupling(config)
    return build_coupling(config.l_max)


def architecture(config: NetworkConfig) -> str:
    """Return the name of a configuration's architecture."""
    return next(name for name, cls in ARCHITECTURES.items() if isinstance(config, cls))


def traits(config: NetworkConfig) -> tuple[bool, bool]:
    """Return whether forces are the network's own, and whether its energy is one per atom."""
    if isinstance(config, PublishedConfig):
        return config.forces == "direct", config.energy == "per-atom"
    return False, False


def with_product(config: NetworkConfig, product: str) -> NetworkConfig:
    """Return the configuration with every tensor product evaluated in another way.

    Raises
    ------
    OptionError
        The architecture has no such evaluation.
    """
    allowed = get_args(Product if isinstance(config, PublishedConfig) else Evaluation)
    # that one couples other paths: it is for weights that were trained with it
    allowed = tuple(name for name in allowed if name != "cp-approximate")
    if product not in allowed:
        raise OptionError(
            f"product {product!r} is not one of this model's; allowed: {', '.join(allowed)}"
        )
    if isinstance(config, PublishedConfig):
        return replace(config, product=product)  # type: ignore[arg-type]
    return replace(config, edge_product=product, node_product=product)  # type: ignore[arg-type]
