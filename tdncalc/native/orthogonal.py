"""Orthogonalization of matrices by Newton-Schulz iterations, compiled."""

import ctypes
import logging
from collections.abc import Callable
from ctypes import c_float, c_int, c_void_p
from pathlib import Path

from torch import Tensor

from tdncalc.native.build import find_build

__all__ = ["compiled_iterations"]

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("orthogonal.cpp")

Iterations = Callable[[Tensor, tuple[float, float, float], int], Tensor]


def compiled_iterations() -> Iterations | None:
    """Return a function that takes matrices through the iterations; None where there is none.

    Of wide matrices x (…, n_in, n_out) in float32 on the CPU, with norms of 1 or less, coefficients
    a, b, c and a number of iterations it returns what x ← a x + (b x xᵀ + c (x xᵀ)²) x, repeated,
    makes of them. It is compiled now if it is not yet.
    """
    build = find_build({}, _SOURCE)
    if (obstacle := build.start()) or not build.wait():
        logger.info("PyTorch orthogonalizes: %s", obstacle or "the kernel did not compile")
        return None
    try:
        function = ctypes.CDLL(str(build.library)).tdn_orthogonalize
    except OSError as error:
        build.discard()
        logger.info("PyTorch orthogonalizes: %s", error)
        return None
    function.restype = None
    function.argtypes = [*[c_int] * 4, *[c_float] * 3, c_void_p]

    def iterate(x: Tensor, coefficients: tuple[float, float, float], iterations: int) -> Tensor:
        result = x.contiguous().clone()
        rows, columns = x.shape[-2:]
        count = result.numel() // max(rows * columns, 1)
        function(count, rows, columns, iterations, *coefficients, result.data_ptr())
        return result

    return iterate
