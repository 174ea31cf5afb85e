"""The operators on the CPU: a kernel in C++, compiled for a coupling and a number of channels."""

import ctypes
import logging
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tdncalc.native.build import Build, find_build
from tdncalc.native.source import coupling_header

__all__ = ["CPUKernels", "cpu_kernels", "start_build"]

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("gather_product.cpp")
_MAX_COMPONENTS = 16  # of degree 3: a kernel of more would take minutes to compile


class _Operands(Structure):
    _fields_ = [(name, c_void_p) for name in ("s", "harmonics", "weights", "a", "source", "target")]


class _Gradients(Structure):
    _fields_ = [(name, c_void_p) for name in ("s", "harmonics", "weights", "a")]


_SIGNATURES: dict[str, list[Any]] = {
    "tdn_forward": [POINTER(_Operands), c_void_p],
    "tdn_backward": [POINTER(_Operands), POINTER(_Gradients)],
    "tdn_double_backward": [POINTER(_Operands), POINTER(_Operands), POINTER(_Gradients)],
}


class CPUKernels:
    """The operators of one coupling and number of channels; see the protocol ``Kernels``.

    Several threads share the edges where they can be divided into parts without an atom in common,
    as those of several structures; results do not depend on their number.

    Parameters
    ----------
    library
        The compiled kernel.

    Raises
    ------
    OSError
        It cannot be loaded.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = None, [c_int64, c_int, *arguments]

    def forward(
        self, s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor
    ) -> Tensor:
        """See ``Kernels``."""
        gathered = s.new_zeros(s.shape[0], weights.shape[1] ** 2, s.shape[2])
        operands = _operands(s, harmonics, weights, source=source, target=target)
        self._library.tdn_forward(*_job(source), operands, gathered.data_ptr())
        return gathered

    def backward(
        self,
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Kernels``."""
        found = torch.zeros_like(s), torch.empty_like(harmonics), torch.empty_like(weights)
        operands = _operands(s, harmonics, weights, a, source, target)
        gradients = _Gradients(*(x.data_ptr() for x in found))
        self._library.tdn_backward(*_job(source), operands, gradients)
        return found

    def double_backward(
        self,
        cotangents: Sequence[Tensor],
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See ``Kernels``."""
        by_s, by_a = torch.zeros_like(s), torch.zeros_like(a)
        by_harmonics, by_weights = torch.empty_like(harmonics), torch.empty_like(weights)
        operands = _operands(s, harmonics, weights, a, source, target)
        gradients = _Gradients(*(x.data_ptr() for x in (by_s, by_harmonics, by_weights, by_a)))
        self._library.tdn_double_backward(
            *_job(source), operands, _operands(*cotangents), gradients
        )
        return by_a, by_s, by_harmonics, by_weights


def _operands(
    s: Tensor,
    harmonics: Tensor,
    weights: Tensor,
    a: Tensor | None = None,
    source: Tensor | None = None,
    target: Tensor | None = None,
) -> _Operands:
    tensors = (s, harmonics, weights, a, source, target)
    return _Operands(*(None if x is None else x.data_ptr() for x in tensors))


def _job(source: Tensor) -> tuple[int, int]:
    return source.shape[0], torch.get_num_threads()


def start_build(coupling: Tensor, channels: int) -> Build | None:
    """Begin to compile a kernel; None where there is none for these sizes or no compiler."""
    if channels % 4 or max(coupling.shape) > _MAX_COMPONENTS:
        return None
    sizes = f"#pragma once\n#define TDN_CHANNELS {channels}\nconstexpr int C = {channels};\n"
    headers = {"sizes.h": sizes, "coupling.h": coupling_header(coupling)}
    build = find_build(headers, _SOURCE)
    if obstacle := build.start():
        logger.info("no kernel for training: %s", obstacle)
        return None
    return build


def cpu_kernels(coupling: Tensor, channels: int) -> CPUKernels | None:
    """Return the kernels of a coupling (D_in, D_edge, D_out), once they are compiled, if any."""
    build = start_build(coupling, channels)
    if build is None or not build.wait():
        return None
    try:
        return CPUKernels(build.library)
    except OSError as error:
        logger.info("no kernel for training: %s", error)
        return None
