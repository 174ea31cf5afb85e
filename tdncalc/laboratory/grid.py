"""The Gaunt product on a spherical grid: two functions, multiplied point by point."""

import math

import numpy as np
import torch
from torch import Tensor

from tdncalc.laboratory.product import Product, by_order, from_order
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.spherical import SphericalHarmonics

__all__ = ["GauntGrid", "harmonics"]


def harmonics(l_max: int, beta: Tensor, alpha: Tensor) -> Tensor:
    """Return Y at polar angles from e3nn's axis y, and azimuths from z; (..., D) float64."""
    beta, alpha = torch.broadcast_tensors(beta, alpha)
    x, z = beta.sin() * alpha.sin(), beta.sin() * alpha.cos()
    points = torch.stack([x, beta.cos(), z], dim=-1)
    evaluate = SphericalHarmonics(l_max, coupling_tensor(l_max))
    values: Tensor = evaluate(points.flatten(0, -2))
    shaped: Tensor = values.unflatten(0, beta.shape)
    return shaped


class GauntGrid(Product):
    r"""Values on a grid exact to degree 3L, their product, and its integrals with Y.

    .. math:: z_k = \frac{1}{4\pi} \int \Big(\sum_i x_i Y_i\Big) \Big(\sum_j y_j Y_j\Big) Y_k

    Gauss-Legendre in the polar angle and equal steps in the azimuth, each transformed by itself
    (Xie et al., "The Price of Freedom", arXiv:2506.13523).

    Parameters
    ----------
    l_max
        The largest degree L.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__(coupling_tensor(l_max))
        self.n_polar, self.n_azimuth = (3 * l_max + 2) // 2, 3 * l_max + 1
        nodes, weights = (
            torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(self.n_polar)
        )
        places, filled = by_order(l_max)
        polar = _polar(l_max, nodes.arccos())  # (D, n_polar)
        table = polar[places] * filled[..., None]  # (2L+1, L+1, n_polar)
        azimuth = _azimuth(l_max, self.n_azimuth)  # (n_azimuth, 2L+1)
        self.constant("places", places.flatten())
        self.constant("order", from_order(l_max))
        self.constant("to_polar", table.transpose(1, 2))  # (2L+1, n_polar, L+1)
        self.constant("from_polar", table * weights / (2 * self.n_azimuth))
        self.constant("azimuth", azimuth)

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        y = y if y.dim() == x.dim() else y[..., None]
        product = self._values(x) * self._values(y)  # (…, n_azimuth, n_polar, C)
        waves = self.get_buffer("azimuth").T @ product.flatten(-2)  # (…, 2L+1, n_polar·C)
        waves = waves.unflatten(-1, (self.n_polar, x.shape[-1]))
        table: Tensor = self.get_buffer("from_polar") @ waves  # (…, 2L+1, L+1, C)
        return table.flatten(-3, -2).index_select(-2, self.get_buffer("order"))

    def _values(self, x: Tensor) -> Tensor:
        """Evaluate (…, D, C) on the grid, (…, n_azimuth, n_polar, C)."""
        rows = x.index_select(-2, self.get_buffer("places"))
        table = rows.unflatten(-2, (2 * self.l_max + 1, self.l_max + 1))
        waves = (self.get_buffer("to_polar") @ table).flatten(-2)  # (…, 2L+1, n_polar·C)
        values: Tensor = self.get_buffer("azimuth") @ waves
        split: Tensor = values.unflatten(-1, (self.n_polar, x.shape[-1]))
        return split

    def flops(self, channels: int, *, many: bool) -> int:
        """Count three transforms, each first in one angle and then in the other, and Q products."""
        orders, levels = 2 * self.l_max + 1, self.l_max + 1
        transform = 2 * orders * self.n_polar * (levels + self.n_azimuth)
        second = channels if many else 1
        return transform * (2 * channels + second) + channels * self.n_polar * self.n_azimuth

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the values on the grid."""
        return (3 if many else 2) * channels * self.n_polar * self.n_azimuth


def _polar(l_max: int, beta: Tensor) -> Tensor:
    """Return the factor of each component that depends on the polar angle, (D, angles)."""
    orders = torch.arange((l_max + 1) ** 2)
    levels = orders.sqrt().floor().long()
    orders = orders - levels**2 - levels
    # at this azimuth the other factor, sin(|m| alpha) or cos(m alpha), is 1
    alpha = torch.where(orders < 0, math.pi / (2 * orders.abs().double().clamp_min(1)), 0.0)
    values = harmonics(l_max, beta, alpha[:, None])  # (D, angles, D)
    return values.diagonal(dim1=0, dim2=2).T


def _azimuth(l_max: int, n_points: int) -> Tensor:
    """Return sin(|m| alpha) for m < 0, cos(m alpha) for the others, (points, 2L+1)."""
    orders = torch.arange(-l_max, l_max + 1).double()
    phase = 2 * math.pi / n_points * torch.arange(n_points).double()[:, None] * orders.abs()
    return torch.where(orders < 0, phase.sin(), phase.cos())
