"""What the kernel reads instead of computing: packed weights, and radial weights as polynomials."""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdncalc.nn.interaction import Interaction
from tdncalc.nn.radial import envelope
from tdncalc.tdn import SATURATION, TDN, Readout

__all__ = [
    "RadialTables",
    "layer_weights",
    "pack_weights",
    "pair_constants",
    "radial_weights",
]

_STEP = 0.0075  # √Å; a longer one costs digits of the radial weights, a shorter one memory
_PLACES = 0.5 * torch.cos(torch.pi * torch.arange(6, dtype=torch.float64, device="cpu") / 5)
_FROM_VALUES = torch.linalg.inv(torch.linalg.vander(_PLACES))  # to coefficients


def pack_weights(network: TDN) -> NDArray[np.float32]:
    """Return the weights of all layers in the order in which the kernel binds them."""
    parts = [part.detach().double().flatten().numpy() for part in layer_weights(network)]
    return np.concatenate(parts).astype("f4")


def layer_weights(network: TDN) -> list[Tensor]:
    """Return what `pack_weights` packs; gradients pass through all but the transposed ones."""
    parts: list[Tensor] = []
    for layer in range(network.config.n_layers):
        interaction = _interaction(network, layer)
        if layer:
            parts += _with_transpose(interaction.message.down.weight)
        parts += _layer(interaction)
        parts += _readout(cast(Readout, network.readouts[layer]), network.config.energy_scale)
    return parts


def radial_weights(network: TDN) -> list[Tensor]:
    """Return those of the radial networks, and what atoms of each element send first, in order."""
    parts: list[Tensor] = []
    for layer in range(network.config.n_layers):
        radial = _interaction(network, layer).message.radial
        parts += [radial.basis, radial.source, radial.target, *_with_transpose(radial.out)]
    first = _interaction(network, 0).message.down
    return [*parts, first(network.embedding)]


def _interaction(network: TDN, layer: int) -> Interaction:
    return cast(Interaction, network.interactions[layer])


def _layer(interaction: Interaction) -> list[Tensor]:
    update, product = interaction.update, interaction.product
    outer: Tensor = update.scalars
    if update.l_max:
        outer = torch.cat([outer, update.gates], dim=1)
    return [
        *_with_transpose(interaction.message.up.weight * interaction.message.scale),
        product.weights,
        *_with_transpose(product.linear.weight),
        *([] if interaction.first else [interaction.residual]),
        *_with_transpose(update.inner),
        *_with_transpose(outer),
    ]


def _readout(readout: Readout, scale: float) -> list[Tensor]:
    return [readout.linear * scale, *_with_transpose(readout.inner), readout.outer * scale]


def _with_transpose(matrices: Tensor) -> list[Tensor]:
    return [matrices, matrices.detach().transpose(-1, -2)]


def pair_constants(network: TDN) -> NDArray[np.float32]:
    """Return k_e Z Z', the inverse screening length, reach and shortest distance of all pairs.

    Shape (n_elements² , 4), in eV Å, 1/Å, Å and Å, row source · n_elements + target.
    """
    repulsion = network.repulsion
    charges = repulsion.charges.double()
    power = charges**0.23
    columns = [
        repulsion.coulomb * charges[:, None] * charges,
        (power[:, None] + power) / 0.46850,
        repulsion.reach.double(),
        repulsion.shortest.double(),
    ]
    return torch.stack(columns, dim=-1).flatten(0, 1).numpy().astype("f4")


class RadialTables:
    """Radial weights as polynomials of degree five on intervals of the square root of the length.

    (They vary fastest at short lengths, and so the intervals are shorter there.) A polynomial
    passes through the network's values at both ends of its interval and at four places between,
    those of Chebyshev and Lobatto: values and slopes differ by less than float32 rounds them. Those
    of the first layer hold the source's features as well.

    Parameters
    ----------
    network
        The network, in any dtype.

    Attributes
    ----------
    origin, step, n_intervals
        The intervals: start of the first and length of each in √Å, number.
    """

    def __init__(self, network: TDN) -> None:
        self._layers = [_RadialWeights(network, layer) for layer in range(network.config.n_layers)]
        shortest = float(network.repulsion.shortest.min())
        # the network never feels a shorter length; a little less, since the kernel rounds
        self.origin = math.sqrt((1 + SATURATION) / 2 * shortest) - 1e-3
        reach = math.sqrt(network.config.cutoff) - self.origin
        self.n_intervals = math.ceil(reach / _STEP)
        self.step = reach / self.n_intervals

    def layer(self, layer: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Return coefficients (pairs, n_intervals, 6, (L+1)·C_e) for [source, target] elements.

        Of t = −½ … ½ in an interval, the constant first.
        """
        middles = self.origin + self.step * (
            torch.arange(self.n_intervals, dtype=torch.float64) + 0.5
        )
        roots = (middles[:, None] + self.step * _PLACES).flatten()
        source, target = torch.tensor(pairs).T
        values = self._layers[layer](roots.square(), source, target)
        values = values.unflatten(1, (self.n_intervals, len(_PLACES)))  # (p, i, 6, W)
        coefficients: NDArray[np.float32] = (_FROM_VALUES @ values).float().numpy()
        return coefficients


class _RadialWeights:
    """The radial weights of a layer in float64, for lengths (n,) and elements (p,) -> (p, n, W)."""

    def __init__(self, network: TDN, layer: int) -> None:
        message = _interaction(network, layer).message
        self._basis, self._cutoff = deepcopy(network.basis).double(), network.config.cutoff
        self._radial = deepcopy(message.radial).double().requires_grad_(False)
        self._sent: Tensor | None = None
        if layer == 0:
            sent = network.embedding.detach().double()[:, 0] @ message.down.weight.double()[0]
            self._sent = sent.detach().repeat(1, network.config.l_max + 1)  # (n_elements, W)

    def __call__(self, lengths: Tensor, source: Tensor, target: Tensor) -> Tensor:
        shape = len(source), len(lengths)
        falloff = envelope(lengths, self._cutoff)
        weights: Tensor = self._radial(
            self._basis(lengths).repeat(len(source), 1),
            source.repeat_interleave(len(lengths)),
            target.repeat_interleave(len(lengths)),
            falloff.repeat(len(source)),
        ).unflatten(0, shape)
        if self._sent is not None:
            weights = weights * self._sent[source][:, None]
        return weights
