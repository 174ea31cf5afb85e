"""The default network in training as a kernel: energies, their derivatives, and those of a loss."""

import ctypes
import logging
import weakref
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_double, c_float, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tdncalc.native.build import find_build
from tdncalc.native.network import unsupported
from tdncalc.native.source import network_header, sizes_header
from tdncalc.native.tables import layer_weights, pair_constants, radial_weights
from tdncalc.nn.repulsion import SCREENING, WALL
from tdncalc.tdn import SATURATION, TDN

__all__ = ["TrainedNetwork", "training_kernel"]

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("training.cpp")
_SLOWER = "PyTorch trains, several times slower than the compiled kernel: %s"


class _Batch(Structure):
    _fields_ = [
        ("n_atoms", c_int),
        ("n_edges", c_int64),
        *((name, c_void_p) for name in ("elements", "source", "target", "vectors")),
    ]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tdn_training": (c_void_p, []),
    "tdn_free_training": (None, [c_void_p]),
    "tdn_n_weights": (c_int64, []),
    "tdn_constants": (None, [c_void_p, c_void_p, c_void_p, c_float, c_float, c_double]),
    "tdn_values": (c_int, [c_void_p, c_void_p, POINTER(_Batch), c_int, c_void_p, c_void_p]),
    "tdn_gradient": (c_int, [c_void_p, c_void_p, c_void_p, c_int, c_int64, c_void_p]),
}


class TrainedNetwork(nn.Module):
    """A network whose energies and their derivatives by the edge vectors a kernel computes.

    Both can be differentiated once by the network's parameters. The edges of a structure have to
    come together, and structures in order, to be computed in parts that stay in the cache, and by
    several threads; results depend on the number of threads by rounding.

    Parameters
    ----------
    network
        The network, in float32 on the CPU.
    library
        The kernel compiled for it.

    Raises
    ------
    OSError
        The library cannot be loaded.
    """

    def __init__(self, network: TDN, library: Path) -> None:
        super().__init__()
        self.network = network
        self.kernel = _Kernel(network, library)

    def forward(
        self, elements: Tensor, edge_index: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return energies (N,) in eV and ∂ΣE/∂vectors (E, 3) in eV/Å; arguments as the network."""
        parts = [*layer_weights(self.network), *radial_weights(self.network)]
        weights = torch.cat([part.reshape(-1) for part in parts])
        tensors = (elements, *edge_index, vectors)
        found: tuple[Tensor, Tensor]
        found = _Evaluation.apply(weights, self.kernel, *tensors)  # type: ignore[no-untyped-call]
        return found


class _Kernel:
    """The library with the memory that its two calls share."""

    def __init__(self, network: TDN, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._training = c_void_p(self._library.tdn_training())
        weakref.finalize(self, self._library.tdn_free_training, self._training)
        self._n_weights = self._library.tdn_n_weights()
        pairs, screening = pair_constants(network), np.array(SCREENING, dtype="f4").T.ravel()
        cutoff = network.config.cutoff
        self._library.tdn_constants(
            self._training, pairs.ctypes.data, screening.ctypes.data, WALL, SATURATION, cutoff
        )
        self.calls = 0

    def values(self, weights: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and derivatives of elements, source, target and vectors."""
        if weights.numel() != self._n_weights:
            raise ValueError("the compiled kernel is of another network")
        elements, source, _, vectors = tensors
        energies = torch.empty(len(elements), dtype=torch.float64)
        gradient = torch.empty_like(vectors)
        batch = _Batch(len(elements), len(source), *(x.data_ptr() for x in tensors))
        self.calls += 1
        self._run(
            self._library.tdn_values,
            weights.data_ptr(),
            byref(batch),
            torch.get_num_threads(),
            energies.data_ptr(),
            gradient.data_ptr(),
        )
        return energies.to(vectors.dtype), gradient

    def gradient(self, seed: Tensor, direction: Tensor) -> Tensor:
        """Return a loss's derivatives by the weights, given those by the last call's results."""
        found = torch.empty(self._n_weights)
        self._run(
            self._library.tdn_gradient,
            seed.data_ptr(),
            direction.data_ptr(),
            torch.get_num_threads(),
            self._n_weights,
            found.data_ptr(),
        )
        return found

    def _run(self, function: Callable[..., int], *arguments: object) -> None:
        if function(self._training, *arguments):
            raise MemoryError("the batch does not fit into memory")


class _Evaluation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, kernel: _Kernel, *tensors: Tensor) -> Any:  # noqa: ANN401 - torch's
        kept = [x.contiguous() for x in (weights, *tensors)]
        ctx.save_for_backward(*kept)
        energies, gradient = kernel.values(*kept)
        ctx.kernel, ctx.call = kernel, kernel.calls
        return energies, gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, seed: Tensor, direction: Tensor) -> Any:  # noqa: ANN401 - torch's
        if ctx.kernel.calls != ctx.call:  # its memory holds another batch
            ctx.kernel.values(*ctx.saved_tensors)
        return ctx.kernel.gradient(seed.contiguous(), direction.contiguous()), *[None] * 5


def training_kernel(network: TDN) -> TrainedNetwork | None:
    """Return a network that trains by its kernel, compiled now if need be; None where it cannot.

    On the CPU a warning says why, for what comes instead is several times slower.
    """
    parameter = network.embedding
    if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        logger.info("no kernel for training: it computes in float32 on the CPU")
        return None
    if obstacle := _obstacle(network):
        logger.warning(_SLOWER, obstacle)
        return None
    headers = {
        "sizes.h": sizes_header(network, training=True),
        "network.h": network_header(network),
    }
    build = find_build(headers, _SOURCE)
    if (obstacle := build.start()) or not build.wait():
        logger.warning(_SLOWER, obstacle or "it did not compile")
        return None
    try:
        return TrainedNetwork(network, build.library)
    except OSError as error:
        build.discard()
        logger.warning(_SLOWER, error)
        return None


def _obstacle(network: TDN) -> str | None:
    if network.config.hidden % 4:
        return f"hidden is {network.config.hidden}, but must be a multiple of 4"
    return unsupported(network)
