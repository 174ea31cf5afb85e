"""Functions of the edge length: basis, envelope, and the network that gives radial weights."""

import math

import torch
from torch import Tensor, nn

from tdncalc.nn.equivariant import scaled_normal

__all__ = ["BesselBasis", "RadialWeights", "envelope", "risen", "saturate"]


def envelope(lengths: Tensor, cutoff: float | Tensor) -> Tensor:
    r"""Fall from 1 at r = 0 to 0 at the cutoff, with two derivatives that vanish there.

    .. math:: 1 - 21u^5 + 35u^6 - 15u^7 = (1-u)^3 (1 + 3u + 6u^2 + 10u^3 + 15u^4),\quad u = r/r_c

    (Gasteiger et al., arXiv:2003.03123, Eq. 8, p = 5), in the form that loses no digits near the
    cutoff. Lengths in Å, any shape; 0 beyond the cutoff.
    """
    u = lengths / cutoff
    return (1 - u).clamp_min(0) ** 3 * (1 + u * (3 + u * (6 + u * (10 + u * 15))))


def saturate(lengths: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Follow a length down to ``end``, and stay at the middle of the two from ``start`` down.

    The slope goes from 1 to 0 between them as a polynomial with two continuous derivatives. What
    depends on the result has no force along an edge shorter than ``start``. All in Å, any shape.
    """
    s = ((lengths - start) / (end - start)).clamp(0, 1)
    # a clamp has its slope at the bound too: a length of exactly `end` must not be counted twice
    return torch.where(lengths < end, (start + end) / 2 + (end - start) * risen(s), lengths)


def risen(s: Tensor) -> Tensor:
    r"""Return :math:`\int 10 s^3 - 15 s^4 + 6 s^5\,ds`, whose slope goes from 0 to 1 as s does.

    From 0 to ½; the second derivative is 0 at both ends.
    """
    return s**4 * (2.5 + s * (s - 3))


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of degree 0, :math:`\sqrt{2/r_c}\,\sin(n\pi r/r_c)/r`, n = 1 … K.

    arXiv:2003.03123, Eq. 7; scaled by :math:`\sqrt{r_c^3/8}` so that values are of order one.
    """

    frequencies: Tensor

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        frequencies = math.pi / cutoff * torch.arange(1, n_radial + 1, dtype=torch.float64)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.scale = cutoff / 2

    def forward(self, lengths: Tensor) -> Tensor:
        """Evaluate the basis: lengths (E,) in Å -> (E, K)."""
        r = lengths[:, None]
        return self.scale * torch.sin(r * self.frequencies) / r  # (E, K)


class RadialWeights(nn.Module):
    """Weights of a message per degree and channel, from the edge's length and its two elements.

    One hidden layer; the elements of source and target shift its input. The envelope multiplies
    the result, so that a message and its first two derivatives vanish at the cutoff.
    """

    def __init__(self, n_elements: int, n_radial: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(scaled_normal(n_radial, hidden))
        self.source = nn.Parameter(0.5 * torch.randn(n_elements, hidden))
        self.target = nn.Parameter(0.5 * torch.randn(n_elements, hidden))
        self.out = nn.Parameter(scaled_normal(hidden, n_out))

    def forward(self, basis: Tensor, source: Tensor, target: Tensor, falloff: Tensor) -> Tensor:
        """Return weights (E, n_out), given basis (E, K), elements of the ends, envelope (E,)."""
        shift = self.source.index_select(0, source) + self.target.index_select(0, target)
        hidden = nn.functional.silu(basis @ self.basis + shift)  # (E, H)
        return (hidden * falloff[:, None]) @ self.out  # (E, n_out)
