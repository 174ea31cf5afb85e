"""Whether Triton can evaluate the operators on a GPU."""

import logging

from torch import Tensor

from tdncalc.fused.checked import CheckedKernels
from tdncalc.fused.operator import Kernels, Reference, coupling_key
from tdncalc.fused.terms import terms

__all__ = ["triton_kernels"]

logger = logging.getLogger(__name__)

_MAX_COMPONENTS = 16  # of degree 3: more do not fit into the registers of a GPU


def triton_kernels(coupling: Tensor, channels: int) -> Kernels | None:
    """Return the operators of a coupling tensor (D_in, D_edge, D_out) by Triton, if possible.

    They check themselves, see :class:`tdncalc.fused.checked.CheckedKernels`.
    """
    if max(coupling.shape) > _MAX_COMPONENTS:
        logger.info("PyTorch gathers messages: kernels know degrees up to 3")
        return None
    try:
        from tdncalc.fused.triton_operators import TritonKernels
    except (ImportError, AttributeError) as error:  # none, or an old one
        logger.info("PyTorch gathers messages: Triton is not usable (%s)", error)
        return None
    found = TritonKernels(terms(coupling_key(coupling), coupling), channels)
    return CheckedKernels(found, Reference(coupling))
