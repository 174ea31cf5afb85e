"""Give a network's layers the operators in place of plain tensors."""

import copy
import logging
import math
from functools import partial
from typing import cast

import torch
from torch import Tensor

from tdncalc.fused.cpu import cpu_kernels, start_build
from tdncalc.fused.operator import coupling_key, find_kernels, gather_product, register_kernels
from tdncalc.fused.triton_choice import triton_kernels
from tdncalc.native.source import scaled
from tdncalc.nn.interaction import Interaction
from tdncalc.tdn import TDN

__all__ = ["failure", "fuse"]

logger = logging.getLogger(__name__)

register_kernels("cpu", cpu_kernels)
register_kernels("cuda", triton_kernels)


def fuse(network: TDN) -> TDN:
    """Return a copy of a network that gathers messages by the operator where there are kernels.

    They are compiled if they are not yet, which is waited for. Without any the network is returned
    as it is, as is one whose products are not exact.
    """
    config, device = network.config, network.embedding.device
    if config.edge_product == "cp-approximate":
        return network
    couplings = [_coupling(network, layer) for layer in range(config.n_layers)]
    if device.type == "cpu":
        for coupling in couplings:  # all at the same time
            start_build(coupling, config.edge_channels)
    keys = [coupling_key(coupling) for coupling in couplings]
    if not all(find_kernels(key, device.type, config.edge_channels) for key in keys):
        return network
    fused = copy.deepcopy(network)
    for interaction, key in zip(fused.interactions, keys, strict=True):
        cast(Interaction, interaction).message.gather = partial(gather_product, coupling=key)
    logger.info("messages are gathered by a kernel")
    return fused


def failure(fused: TDN) -> str | None:
    """Tell why PyTorch gathers messages of a fused network after all; None while kernels do."""
    device, channels = fused.embedding.device.type, fused.config.edge_channels
    gathers = (cast(Interaction, interaction).message.gather for interaction in fused.interactions)
    keys = (cast("partial[Tensor]", gather).keywords["coupling"] for gather in gathers)
    found = (getattr(find_kernels(key, device, channels), "failure", None) for key in keys)
    return next(filter(None, found), None)


def _coupling(network: TDN, layer: int) -> Tensor:
    """Return what a layer couples messages by, (D_in, D, D), with the scale of their sum."""
    l_max, tensor = network.config.l_max, network.coupling.tensor.double().cpu()
    if layer == 0:  # scalars only
        tensor = torch.eye((l_max + 1) ** 2, dtype=torch.float64)[None]
    else:
        tensor = scaled(tensor, l_max, l_max)
    return tensor / math.sqrt(network.config.n_neighbors)
