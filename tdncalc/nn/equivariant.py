"""Layers that act on features (N, D, C) degree by degree and so commute with rotations."""

import math

import torch
from torch import Tensor, nn

from tdncalc.nn.spherical import degree_slice

__all__ = ["EquivariantLinear", "GatedUpdate", "scaled_normal"]


def scaled_normal(n_in: int, n_out: int, *shape: int) -> Tensor:
    """Draw weights (*shape, n_in, n_out) that keep the variance of n_in independent inputs."""
    return torch.randn(*shape, n_in, n_out) / math.sqrt(n_in)


class EquivariantLinear(nn.Module):
    """One matrix of channels per degree, without bias: (N, D, C_in) -> (N, D, C_out)."""

    def __init__(self, l_max: int, c_in: int, c_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(scaled_normal(c_in, c_out, l_max + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of x (N, D, C_in) within each degree."""
        parts = [x[:, degree_slice(degree)] @ weight for degree, weight in enumerate(self.weight)]
        return torch.cat(parts, dim=1)  # (N, D, C_out)


class GatedUpdate(nn.Module):
    """Refine scalars by a small network and scale each higher degree by gates of the scalars.

    No biases: features that are zero, as those of an atom without neighbors, stay zero.
    """

    def __init__(self, l_max: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.channels = channels
        self.inner = nn.Parameter(scaled_normal(channels, hidden))
        self.scalars = nn.Parameter(scaled_normal(hidden, channels))
        if l_max:
            self.gates = nn.Parameter(scaled_normal(hidden, l_max * channels))

    def forward(self, x: Tensor) -> Tensor:
        """Update x (N, D, C) to the same shape."""
        hidden = nn.functional.silu(x[:, 0] @ self.inner)  # (N, H)
        parts = [(x[:, 0] + hidden @ self.scalars)[:, None]]  # (N, 1, C)
        if self.l_max:
            gates = 1 + (hidden @ self.gates).unflatten(1, (self.l_max, self.channels))  # (N, L, C)
            for degree in range(1, self.l_max + 1):
                parts.append(x[:, degree_slice(degree)] * gates[:, degree - 1 : degree])
        return torch.cat(parts, dim=1)  # (N, D, C)
