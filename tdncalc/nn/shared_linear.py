"""Layers of the published network on features (N, D, C): one matrix serves all degrees."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tdncalc.nn.spherical import degree_slice

__all__ = ["DegreeNorm", "GatedLinear", "SharedLinear"]

_EPSILON = 1e-5


class SharedLinear(nn.Module):
    """One matrix for all degrees, and a bias for the scalars: (N, D, C_in) -> (N, D, C_out)."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(c_in)
        self.weight = nn.Parameter(torch.empty(c_out, c_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(1, c_out)) if bias else None

    def forward(self, x: Tensor, times: Tensor | float = 1.0) -> Tensor:
        """Mix the channels of x (N, D, C_in), and add the bias as many times."""
        mixed = x @ self.weight.T  # (N, D, C_out)
        if self.bias is None:
            return mixed
        return torch.cat([mixed[:, :1] + times * self.bias, mixed[:, 1:]], dim=1)


class GatedLinear(nn.Module):
    r"""A shared matrix to twice the channels, whose second half gates the first.

    .. math:: y_0 = \mathrm{SiLU}(p_0), \qquad y_l = p_l\, \sigma(q_0), \qquad (p, q) = W x + b

    Only the scalars of q are needed, and only they are computed.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(c_in)
        self.weight = nn.Parameter(torch.empty(2 * c_out, c_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(1, 2 * c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, D, C_in) to (N, D, C_out)."""
        c_out = self.weight.shape[0] // 2
        scalars = x[:, :1] @ self.weight.T + self.bias  # (N, 1, 2 C_out)
        higher = x[:, 1:] @ self.weight[:c_out].T  # (N, D - 1, C_out)
        gates = torch.sigmoid(scalars[..., c_out:])
        return torch.cat([silu(scalars[..., :c_out]), higher * gates], dim=1)


class DegreeNorm(nn.Module):
    r"""Layer normalization degree by degree; scalars are centered first, and get a bias.

    .. math:: y_l = \gamma_l\, x_l \big/ \sqrt{\langle x_l^2 \rangle + 10^{-5}}

    with the mean over the channels and the 2l+1 components of a degree.
    """

    def __init__(self, l_max: int, channels: int) -> None:
        super().__init__()
        self.affine_weight = nn.Parameter(torch.ones(l_max + 1, 1, channels))
        self.affine_bias = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (N, D, C)."""
        scalars = x[:, :1] - x[:, :1].mean(2, keepdim=True)
        parts = [_normalized(scalars) * self.affine_weight[0] + self.affine_bias]
        for degree in range(1, len(self.affine_weight)):
            parts.append(_normalized(x[:, degree_slice(degree)]) * self.affine_weight[degree])
        return torch.cat(parts, dim=1)  # (N, D, C)


def _normalized(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean((1, 2), keepdim=True) + _EPSILON)
