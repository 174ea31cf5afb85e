"""The network of a checkpoint of the published code: sizes from shapes, every tensor checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tdncalc.errors import CheckpointError
from tdncalc.nn.coupling import Coupling, CPFactors, coupling_tensor
from tdncalc.official.reading import EMBEDDING, Checkpoint
from tdncalc.published.config import PublishedConfig
from tdncalc.published.network import PublishedTDN

__all__ = ["Sizes", "published_network"]

_FIRST_FACTORS = "edge_embed.tp.cp_tp.cp_"
_MAX_DEGREE = 6
# The layers whose matrix the published code keeps one level down.
_SHARED = re.compile(
    r"\b(exp|proj|merge_src|merge_dst|lin_alpha|lin_value|ffn\.0|ffn\.2|head\.0|head\.2|force_proj)"
    r"\.weight$"
)


@dataclass(frozen=True)
class Sizes:
    """What the shapes in a checkpoint tell of its network."""

    n_layers: int
    l_max: int
    channels: int
    heads: int
    n_radial: int
    hidden: tuple[int, int]
    rank: int


def published_network(
    checkpoint: Checkpoint, settings: Mapping[str, Any]
) -> tuple[PublishedTDN, Sizes]:
    """Make the network of a checkpoint, all of it or none.

    Parameters
    ----------
    checkpoint
        What was read.
    settings
        Those of :class:`PublishedConfig` that no checkpoint holds; sizes come from the shapes.

    Raises
    ------
    CheckpointError
        A tensor is missing, unknown, of a wrong shape or not finite; the message names it.
    """
    sizes = _sizes(checkpoint)
    found = {name: getattr(sizes, name) for name in vars(sizes)}
    config = PublishedConfig(**{**settings, **found})
    coupling = _coupling(checkpoint, sizes)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        whole = PublishedTDN(PublishedConfig(**vars(config) | {"forces": "direct"}), coupling)
        network = PublishedTDN(config, coupling)
    _check(checkpoint, whole)
    state = {name: checkpoint.state[_official(name)].float() for name in _parameters(network)}
    network.load_state_dict(state | {"reference_energies": network.reference_energies})
    return network, sizes


def _sizes(checkpoint: Checkpoint) -> Sizes:
    blocks = {name.split(".")[1] for name in checkpoint.state if name.startswith("blocks.")}
    channels, _ = _shape(checkpoint, EMBEDDING, 2)
    heads, size = _shape(checkpoint, "blocks.0.attn.alpha_dot", 2)
    first, n_radial = _shape(checkpoint, "edge_embed.rad.net.0.weight", 2)
    second, _ = _shape(checkpoint, "edge_embed.rad.net.3.weight", 2)
    l_max = _shape(checkpoint, "norm.affine_weight", 3)[0] - 1
    rank = _shape(checkpoint, _FIRST_FACTORS + "a", 2)[1]
    if heads * size != channels or not 1 <= l_max <= _MAX_DEGREE:
        raise CheckpointError(
            f"{checkpoint.path}: {heads} heads of {size} channels and degree {l_max} do not fit "
            f"{channels} channels; it is no published TDN"
        )
    return Sizes(len(blocks), l_max, channels, heads, n_radial, (first, second), rank)


def _shape(checkpoint: Checkpoint, name: str, n_dims: int) -> tuple[int, ...]:
    value = checkpoint.state.get(name)
    if value is None:
        raise CheckpointError(f"{checkpoint.path}: lacks {name}; it is no whole published TDN")
    if value.dim() != n_dims:
        raise CheckpointError(
            f"{checkpoint.path}: {name} has shape {tuple(value.shape)}, which is wrong"
        )
    return tuple(value.shape)


def _coupling(checkpoint: Checkpoint, sizes: Sizes) -> Coupling:
    """Return the tensor of all paths with the checkpoint's factors of it, the same everywhere."""
    shape = ((sizes.l_max + 1) ** 2, sizes.rank)
    factors = []
    for letter in "abc":
        for name in (n for n in checkpoint.state if n.endswith(f".cp_tp.cp_{letter}")):
            _require_shape(checkpoint, name, shape)
            if not torch.equal(checkpoint.state[name], checkpoint.state[_FIRST_FACTORS + letter]):
                raise CheckpointError(
                    f"{checkpoint.path}: {name} differs from {_FIRST_FACTORS}{letter}, "
                    "but one product must serve the whole network"
                )
        _require_shape(checkpoint, _FIRST_FACTORS + letter, shape)
        factors.append(checkpoint.state[_FIRST_FACTORS + letter].double())
    tensor = coupling_tensor(sizes.l_max, paths="SO3", weights="equal")
    made = torch.einsum("ir,jr,kr->ijk", *factors)
    residual = float((made - tensor).norm() / tensor.norm())
    a, b, c = factors
    return Coupling(tensor, CPFactors(a, b, c, residual))


def _check(checkpoint: Checkpoint, network: PublishedTDN) -> None:
    """Compare names and shapes with those of the network that has every head."""
    expected = {_official(name): tuple(v.shape) for name, v in _parameters(network).items()}
    factors = (network.config.l_max + 1) ** 2, network.coupling.factors.a.shape[1]
    expected |= {
        f"{name}.cp_tp.cp_{letter}": factors for name in _products(network) for letter in "abc"
    }
    for name, shape in expected.items():
        _require_shape(checkpoint, name, shape)
    if extra := [name for name in checkpoint.state if name not in expected]:
        raise CheckpointError(f"{checkpoint.path}: {extra[0]} is no part of the published TDN")


def _require_shape(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> None:
    if name not in checkpoint.state:
        raise CheckpointError(f"{checkpoint.path}: lacks {name}; it is no whole published TDN")
    value = checkpoint.state[name]
    if tuple(value.shape) != shape:
        raise CheckpointError(
            f"{checkpoint.path}: {name} has shape {tuple(value.shape)}, but {shape} is expected"
        )
    if not value.is_floating_point() or not bool(value.isfinite().all()):
        raise CheckpointError(f"{checkpoint.path}: {name} holds values that are not finite numbers")


def _parameters(network: PublishedTDN) -> dict[str, Tensor]:
    return dict(network.named_parameters())


def _products(network: PublishedTDN) -> list[str]:
    """Return the names of the modules that carry factors in the published code."""
    blocks = [f"blocks.{index}.attn" for index in range(network.config.n_layers)]
    attention = [f"{name}.tp{k}" for name in [*blocks, "force_head"] for k in (1, 2)]
    return ["edge_embed.tp", *attention]


def _official(name: str) -> str:
    """Return the published code's name of one of our parameters."""
    for ours, theirs in (("ffn_in", "ffn.0"), ("ffn_out", "ffn.2")):
        name = name.replace(ours, theirs)
    name = name.replace("head_in.", "head.0.").replace("head_out.", "head.2.")
    name = name.replace("atom_embed.", "atom_embed.atom_type_lin.")
    return _SHARED.sub(r"\1.linear.weight", name)
