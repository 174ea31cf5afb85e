"""Kernels that prove themselves on the first input of each operator, or are not used."""

import logging
import warnings
from typing import Any

import torch
from torch import Tensor

from tdncalc.batches import is_shortage
from tdncalc.fused.operator import Kernels, Reference

__all__ = ["CheckedKernels"]

logger = logging.getLogger(__name__)

_EDGES = 4096  # of the first input that are computed twice
_ROUNDINGS = 200  # by which both may differ, of the largest result
# whether the arguments have a row for each atom or for each edge; cotangents first
_ROWS_OF = {"forward": "NEE", "backward": "NNEE", "double_backward": "NEENNEE"}


class CheckedKernels:
    """Kernels, and plain tensors in their place from the first failure or wrong result on.

    The first time each operator is called both compute a part of its input.

    Parameters
    ----------
    kernels
        What computes.
    reference
        What is right.

    Warns
    -----
    UserWarning
        Once, when the kernels turn out not to work.

    Attributes
    ----------
    failure
        Why plain tensors take their place, if they do.
    """

    def __init__(self, kernels: Kernels, reference: Reference) -> None:
        self._kernels: Kernels | None = kernels
        self._reference = reference
        self._proven: set[str] = set()
        self.failure: str | None = None

    def forward(self, *arguments: Any) -> Tensor:  # noqa: ANN401 - those of Kernels
        """See :class:`tdncalc.fused.operator.Kernels`."""
        gathered: Tensor = self._run("forward", arguments)
        return gathered

    def backward(self, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        """See :class:`tdncalc.fused.operator.Kernels`."""
        gradients: tuple[Tensor, Tensor, Tensor] = self._run("backward", arguments)
        return gradients

    def double_backward(
        self,
        *arguments: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See :class:`tdncalc.fused.operator.Kernels`."""
        gradients: tuple[Tensor, Tensor, Tensor, Tensor] = self._run("double_backward", arguments)
        return gradients

    def _run(self, name: str, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        if self._kernels is not None:
            try:
                if name not in self._proven and len(arguments[-1]):  # there are edges
                    self._prove(self._kernels, name, arguments)
                return getattr(self._kernels, name)(*arguments)
            except Exception as error:
                if is_shortage(error) or _recording():
                    raise
                self._give_up(f"{type(error).__name__}: {error}")
        return getattr(self._reference, name)(*arguments)

    def _prove(self, kernels: Kernels, name: str, arguments: tuple[Any, ...]) -> None:
        part = _first_edges(name, arguments)
        exact = _as_tuple(getattr(self._reference, name)(*_in_float64(part)))
        for found, right in zip(_as_tuple(getattr(kernels, name)(*part)), exact, strict=True):
            limit = _ROUNDINGS * torch.finfo(found.dtype).eps * right.abs().amax()
            if not bool(((found - right).abs() <= limit).all()):
                raise ArithmeticError(f"{name} is not what it is defined to be")
        self._proven.add(name)
        logger.info("kernel of %s: agrees with its definition", name)

    def _give_up(self, reason: str) -> None:
        self._kernels = None
        self.failure = f"the kernel failed ({' '.join(reason.split())[:300]})"
        warnings.warn(f"PyTorch gathers messages: {self.failure}", stacklevel=2)


def _recording() -> bool:
    """Tell whether steps are recorded now: what fails then may be the recording's fault."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _first_edges(name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep some edges, and the atoms at their ends."""
    *given, source, target = arguments
    nested = name == "double_backward"
    tensors = [*given[0], *given[1:]] if nested else given
    atoms, places = torch.unique(torch.cat([source[:_EDGES], target[:_EDGES]]), return_inverse=True)
    kept = [
        x[atoms] if kind == "N" else x[:_EDGES].contiguous()
        for x, kind in zip(tensors, _ROWS_OF[name], strict=True)
    ]
    ends = places.chunk(2)
    return (kept[:3], *kept[3:], *ends) if nested else (*kept, *ends)


def _in_float64(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        [x.double() for x in one]
        if isinstance(one, list)
        else (one.double() if one.is_floating_point() else one)
        for one in arguments
    )


def _as_tuple(found: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
    return (found,) if isinstance(found, Tensor) else tuple(found)
