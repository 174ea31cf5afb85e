"""A training step as one graph of plain operators, compiled by inductor for batches of any size."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

__all__ = ["CompiledStep"]

logger = logging.getLogger(__name__)

_ROUNDING = 1e-3, 1e-5  # of the norm of a gradient, and of the largest of all, in float32


class CompiledStep:
    """A training step traced and compiled at its first call; sizes of the batch stay symbolic.

    Its first result is compared with that of the function, which takes its place if they differ by
    more than rounding: inductor of PyTorch 2.6 gets some gradients wrong.
    """

    def __init__(self, function: Callable[..., list[Tensor]]) -> None:
        self._function = function
        self._run: Callable[..., list[Tensor]] | None = None

    def __call__(
        self, parameters: list[Tensor], batch: list[Tensor], balance: Tensor
    ) -> list[Tensor]:
        """Return what the function returns."""
        if self._run is None:
            self._run = _trace(self._function, parameters, batch, balance)
            expected = self._function(parameters, batch, balance)
            if not _alike(self._run(parameters, batch, balance), expected):
                logger.warning(
                    "the compiler of PyTorch %s gets gradients wrong: training goes on without "
                    "it, more slowly; install a newer PyTorch",
                    torch.__version__,
                )
                self._run = self._function
        return self._run(parameters, batch, balance)


def _alike(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Tell whether results are the same at rounding, or no numbers."""
    relative, absolute = _ROUNDING
    norms = [float(one.norm()) for one in expected]
    off = [float((a - b).norm()) for a, b in zip(found, expected, strict=True)]
    largest = max(norms)
    return not any(o > relative * n + absolute * largest for o, n in zip(off, norms, strict=True))


def _multiply_and_sum(a: Tensor, b: Tensor) -> Tensor:
    """Write a batched product of many small matrices in a form that inductor fuses."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


_FUSABLE = {torch.ops.aten.bmm.default: _multiply_and_sum}


def _varies(tensor: Tensor) -> int:
    """Return the dimension of a part of a batch that goes with the batch's size."""
    return tensor.dim() - 1 if tensor.dtype == torch.int64 else 0


def _trace(
    function: Callable[..., list[Tensor]],
    parameters: list[Tensor],
    batch: list[Tensor],
    balance: Tensor,
) -> Callable[..., list[Tensor]]:
    """Compile one graph of plain operators: parameters of fixed sizes, a batch of symbolic."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def fake(tensor: Tensor, dynamic: int | None) -> Tensor:
        kinds = [
            DimDynamic.DYNAMIC if d == dynamic else DimDynamic.STATIC for d in range(tensor.dim())
        ]
        context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=kinds)
        return mode.from_tensor(tensor.detach(), symbolic_context=context)

    fake_parameters = [fake(tensor, None) for tensor in parameters]
    fake_batch = [fake(tensor, _varies(tensor)) for tensor in batch]
    with mode:
        graph = make_fx(function, _FUSABLE)(fake_parameters, fake_batch, fake(balance, None))
    compiled: Callable[..., list[Tensor]] = torch.compile(graph)

    def run(parameters: list[Tensor], batch: list[Tensor], balance: Tensor) -> list[Tensor]:
        for tensor in batch:
            torch._dynamo.maybe_mark_dynamic(tensor, _varies(tensor))
        with torch.no_grad():
            return compiled(parameters, batch, balance)

    return run
