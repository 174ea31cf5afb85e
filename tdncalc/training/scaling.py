"""The size of what the atoms of a new network gather, brought to order one on the data."""

import numpy as np
import torch
from torch import Tensor

from tdncalc.nn.interaction import Message
from tdncalc.tdn import TDN
from tdncalc.training.frames import Frames

__all__ = ["limit_gathered"]

LARGEST = 0.5  # root mean square; its third power, in every layer, is then of order one at most
_SAMPLE = 64


@torch.no_grad()
def limit_gathered(network: TDN, frames: Frames) -> None:
    """Scale down the messages of each layer in which atoms gather more than `LARGEST`.

    A sum of messages is divided by the root of the number of neighbors, as if they came from all
    directions alike. Where there are few neighbors they do not, and products of three of such
    features in two layers make energies of up to 10⁹ eV of random weights, which a run would first
    have to unlearn. In the manner of D. Mishkin and J. Matas, arXiv:1511.06422.
    """
    inputs = _inputs(network, frames.evenly(_SAMPLE))
    for message in [part for part in network.modules() if isinstance(part, Message)]:
        size = float(_gathered(network, message, inputs).square().mean().sqrt())
        if size > LARGEST:
            message.up.weight.mul_(LARGEST / size)


def _gathered(network: TDN, message: Message, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return what the atoms gather in a layer, (N, D, C)."""
    found: list[Tensor] = []
    hook = message.register_forward_hook(lambda _, given, returned: found.append(returned))
    network(*inputs)
    hook.remove()
    return found[0]


def _inputs(network: TDN, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
    """Return elements (N,), edges (2, E) and edge vectors (E, 3) of all structures together."""
    some = [frames.edges(index, network.config.cutoff) for index in range(len(frames))]
    edges = [pairs + start for (pairs, _), start in zip(some, frames.starts, strict=False)]
    vectors = np.concatenate([of_one for _, of_one in some])
    return (
        network.element_indices(torch.from_numpy(frames.numbers.astype(np.int64))),
        torch.from_numpy(np.concatenate(edges, axis=1)),
        torch.from_numpy(vectors).to(network.embedding.dtype),
    )
