"""The operators of message passing by Triton kernels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tdncalc.fused import triton_kernels as kernels
from tdncalc.fused.device import on_device
from tdncalc.fused.row_memory import remembered_rows
from tdncalc.fused.rows import Rows
from tdncalc.fused.terms import Terms

__all__ = ["TritonKernels", "block_sizes"]

_LARGE, _SMALL = 64, 32  # channels of a program of one warp: two a thread share what an edge needs
# Triton's own choice of the second depends on its version, and some warn of that.
_OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}
_MANY_COMPONENTS = 10  # with two channels a thread, second derivatives do not fit into registers


def block_sizes(coupling: Terms, channels: int) -> tuple[int, int]:
    """Return how many channels a program computes, and one of second derivatives.

    As many as leave the fewest threads idle.
    """
    idle = {block: -channels % block for block in (_LARGE, _SMALL)}
    block = min(idle, key=lambda size: idle[size])
    return block, (_SMALL if coupling.size("in") >= _MANY_COMPONENTS else block)


class TritonKernels:
    """The operators of one coupling tensor; see :class:`tdncalc.fused.operator.Kernels`.

    Parameters
    ----------
    coupling
        The nonzeros of the coupling tensor, with some for every component.
    channels
        C.
    """

    def __init__(self, coupling: Terms, channels: int) -> None:
        self._coupling, self._channels = coupling, channels
        self._block, self._double_block = block_sizes(coupling, channels)

    def forward(
        self, s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor
    ) -> Tensor:
        """Return A, (N, D_out, C)."""
        rows = remembered_rows(target, source, len(s))
        out = s.new_empty(len(s), self._coupling.size("out"), self._channels)
        self._launch(kernels.forward, self._block, out, (s, harmonics, weights), rows, out)
        return out

    def backward(
        self,
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of T by s, Y and w."""
        n_atoms, n_edges = len(s), len(source)
        by_target = remembered_rows(target, source, n_atoms)
        by_source = remembered_rows(source, target, n_atoms)
        by_s, by_weights = torch.empty_like(s), torch.empty_like(weights)
        parts = self._parts(harmonics, self._block)
        by_edge, results = (a, s, harmonics, weights), (parts, by_weights)
        self._launch(kernels.backward_target, self._block, a, by_edge, by_target, results, n_edges)
        operands = (a, harmonics, weights)
        self._launch(kernels.backward_source, self._block, a, operands, by_source, by_s)
        return by_s, _total(parts), by_weights

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
        """Return gradients by a, s, Y and w, given the cotangents of :meth:`backward`'s results."""
        n_atoms, n_edges, block = len(s), len(source), self._double_block
        by_target = remembered_rows(target, source, n_atoms)
        by_source = remembered_rows(source, target, n_atoms)
        by_a, by_s, by_weights = (torch.empty_like(x) for x in (a, s, weights))
        parts, given = self._parts(harmonics, block), tuple(cotangents)
        by_edge, results = (a, s, harmonics, weights), (by_a, parts, by_weights)
        self._launch(kernels.double_target, block, a, given, by_edge, by_target, results, n_edges)
        operands = (a, harmonics, weights)
        self._launch(kernels.double_source, block, a, given[1:], operands, by_source, by_s)
        return by_a, by_s, _total(parts), by_weights

    def _parts(self, harmonics: Tensor, block: int) -> Tensor:
        """Make room for what each block of channels adds to a tensor like the harmonics."""
        return harmonics.new_empty(_n_blocks(self._channels, block), *harmonics.shape)

    def _launch(self, kernel: Any, block: int, like: Tensor, *arguments: object) -> None:  # noqa: ANN401
        """Run a kernel for each of N atoms and block of channels; ``like`` is (N, …)."""
        given = [x.tensors() if isinstance(x, Rows) else x for x in arguments]
        sizes = {"M": self._coupling, "C": self._channels, "BLOCK": block}
        with on_device(like.device):
            kernel[(len(like), _n_blocks(self._channels, block))](*given, **sizes, **_OPTIONS)


def _n_blocks(channels: int, block: int) -> int:
    return -(-channels // block)


def _total(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)
