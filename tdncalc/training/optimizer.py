"""The optimizers of a run: Adam, or Muon for the matrices that mix channels and Adam besides."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from tdncalc.errors import ConfigError
from tdncalc.native.orthogonal import Iterations, compiled_iterations

__all__ = ["Method", "Muon", "Optimizers", "make_optimizer"]

Method = Literal["muon", "adam"]

# Muon's step in units of the learning rate, at which Adam's entries move about as far: measured.
_MUON_RATE = 2.0
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_TABLES = ("embedding", "source", "target", "residual", "weights", "table")  # rows by element


class Muon(torch.optim.Optimizer):
    r"""Momentum, orthogonalized: each step changes a matrix in all of its directions alike.

    With :math:`G = U S V^T` for the (Nesterov) momentum of the gradient, the step is
    :math:`-\eta \sqrt{\max(1, n_{in}/n_{out})}\,U V^T`, found by five Newton-Schulz iterations
    (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).

    Parameters
    ----------
    params
        Matrices, or stacks of them, (…, n_in, n_out).
    momentum
        Memory of the gradient.
    iterate
        The Newton-Schulz iterations.
    """

    def __init__(
        self, params: Iterable[Tensor], *, momentum: float = 0.95, iterate: Iterations | None = None
    ) -> None:
        super().__init__(params, {"lr": 0.0, "momentum": momentum})
        self._iterate = iterate or _iterate

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            memory = group["momentum"]
            for matrix in group["params"]:
                kept = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                kept.lerp_(matrix.grad, 1 - memory)
                direction = _orthogonal(matrix.grad.lerp(kept, memory), self._iterate)
                n_in, n_out = matrix.shape[-2:]
                matrix.add_(direction, alpha=-group["lr"] * max(1.0, n_in / n_out) ** 0.5)


class Optimizers:
    r"""Several optimizers that step together, each at its own multiple of the learning rate.

    Before each step, some weights shrink: :math:`w \leftarrow (1 - \eta \lambda)\, w`
    (I. Loshchilov and F. Hutter, arXiv:1711.05101).

    Parameters
    ----------
    parts
        Optimizers and multiples by name.
    shrinking
        The weights that shrink.
    weight_decay
        λ, for the learning rate η.
    """

    def __init__(
        self,
        parts: dict[str, tuple[torch.optim.Optimizer, float]],
        shrinking: Sequence[Tensor],
        weight_decay: float,
    ) -> None:
        self._parts = parts
        self._shrinking, self._weight_decay = shrinking, weight_decay

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Take one step of each."""
        if self._weight_decay:
            for weights in self._shrinking:
                weights.mul_(1 - learning_rate * self._weight_decay)
        for optimizer, multiple in self._parts.values():
            for group in optimizer.param_groups:
                group["lr"] = multiple * learning_rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each by name."""
        return {name: optimizer.state_dict() for name, (optimizer, _) in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        for name, (optimizer, _) in self._parts.items():
            optimizer.load_state_dict(state[name])


def make_optimizer(
    modules: Iterable[nn.Module],
    method: str,
    *,
    weight_decay: float = 0.0,
    compiled: bool = False,
) -> Optimizers:
    """Return the optimizer of the modules' parameters; ConfigError for an unknown method.

    Only matrices that mix channels decay. The compiled optimizer is as the other, only faster:
    parameters have to be on the CPU and in float32.
    """
    if method not in get_args(Method):
        allowed = ", ".join(get_args(Method))
        raise ConfigError(f"optimizer: method {method!r} is not known; allowed: {allowed}")
    named = [one for module in modules for one in module.named_parameters()]
    mixing = [p for name, p in named if _mixes_channels(name, p)]
    matrices = mixing if method == "muon" else []
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    adam = torch.optim.Adam(rest, lr=0.0, betas=(0.9, 0.99), amsgrad=True)
    parts: dict[str, tuple[torch.optim.Optimizer, float]] = {"adam": (adam, 1.0)}
    if matrices:
        iterate = compiled_iterations() if compiled else None
        parts["muon"] = (Muon(matrices, iterate=iterate), _MUON_RATE)
    return Optimizers(parts, mixing, weight_decay)


def _mixes_channels(name: str, parameter: Tensor) -> bool:
    is_matrix = parameter.dim() in (2, 3) and min(parameter.shape[-2:]) > 1
    return is_matrix and name.rpartition(".")[2] not in _TABLES


def _orthogonal(matrices: Tensor, iterate: Iterations) -> Tensor:
    """Return about U Vᵀ of each matrix U S Vᵀ; singular values end between 0.7 and 1.2."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / (x.square().sum((-2, -1), keepdim=True).sqrt() + 1e-12)
    x = iterate(x, _NEWTON_SCHULZ, 5)
    return x if wide else x.mT


def _iterate(x: Tensor, coefficients: tuple[float, float, float], iterations: int) -> Tensor:
    a, b, c = coefficients
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x
