"""The Gaunt product as a convolution of two-dimensional Fourier series, by FFT."""

import math

import torch
from torch import Tensor

from tdncalc.laboratory.grid import harmonics
from tdncalc.laboratory.product import Product
from tdncalc.nn.coupling import coupling_tensor

__all__ = ["GauntFourier"]


class GauntFourier(Product):
    r"""Harmonics as series :math:`\sum_{uv} f_{uv} e^{i(u\beta + v\alpha)}` on the torus.

    The coefficients of x and y are convolved by FFT on 4L+1 points in each angle, which no term
    of degree 2L leaves, and the product is integrated against Y over the sphere (Luo, Chen and
    Krishnapriyan, "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt Tensor
    Products", ICLR 2024). The map is that of :class:`tdncalc.laboratory.grid.GauntGrid`.

    Parameters
    ----------
    l_max
        The largest degree L.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__(coupling_tensor(l_max))
        self.n = n = 4 * l_max + 1
        self.n_half = l_max + 1  # v = 0 to L; the others follow, since the functions are real
        series = _series(l_max, n)  # (D, n, n), complex
        half = torch.zeros(*series.shape[:2], n // 2 + 1, dtype=series.dtype)
        half[..., : self.n_half] = series[..., : self.n_half]
        forward = half.flatten(1).T  # (n·(n//2+1), D)
        self.constant("real", forward.real)
        self.constant("imaginary", forward.imag)
        back = _integrals(series)[..., : self.n_half].flatten(1)  # (D, n·(L+1))
        self.constant("back", torch.cat([back.real, -back.imag], dim=1))

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        y = y if y.dim() == x.dim() else y[..., None]
        product = self._values(x) * self._values(y)  # (…, n, n, C)
        series = torch.fft.rfft2(product, dim=(-3, -2), norm="forward")
        kept = series[..., : self.n_half, :].flatten(-3, -2)  # (…, n·(L+1), C)
        return self.get_buffer("back") @ torch.cat([kept.real, kept.imag], dim=-2)

    def _values(self, x: Tensor) -> Tensor:
        """Evaluate (…, D, C) on the points of the torus, (…, n, n, C)."""
        series = torch.complex(self.get_buffer("real") @ x, self.get_buffer("imaginary") @ x)
        series = series.unflatten(-2, (self.n, -1))
        shape = (self.n, self.n)
        values: Tensor = torch.fft.irfft2(series, s=shape, dim=(-3, -2), norm="forward")
        return values

    def flops(self, channels: int, *, many: bool) -> int:
        """Count dense transforms to and from series, and 2.5 n² log2 n² for each real FFT."""
        n, second = self.n, channels if many else 1
        fft = int(2.5 * n**2 * math.log2(n**2))
        to_series = 4 * n * (n // 2 + 1) * self.size
        back = 4 * n * self.n_half * self.size
        return (to_series + fft) * (channels + second) + channels * (n**2 + fft + back)

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the series and the values on the torus."""
        return (5 if many else 4) * channels * self.n**2


def _series(l_max: int, n: int) -> Tensor:
    """Return the Fourier coefficients of each component, (D, n, n) complex128, order of the FFT."""
    angles = 2 * math.pi / n * torch.arange(n, dtype=torch.float64)
    values = harmonics(l_max, angles[:, None], angles[None, :])  # (n, n, D)
    series: Tensor = torch.fft.fft2(values.movedim(-1, 0), norm="forward")
    return series


def _integrals(series: Tensor) -> Tensor:
    r"""Return G with :math:`\frac{1}{4\pi}\int f\,Y_k = \mathrm{Re}\sum_{u, v>=0} G_{kuv} f_{uv}`.

    The azimuth leaves the terms with v + v' = 0; then
    :math:`\frac12\int_0^\pi \cos(u\beta) \sin\beta\,d\beta = 1/(1-u^2)` for even u, 0 for odd.
    """
    n = series.shape[1]
    u = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64).round()
    total = u[:, None] + u[None, :]
    height = torch.where(total % 2 == 0, 1 / (1 - total**2).where(total % 2 == 0, 1.0), 0.0)
    opposite = series[:, :, (-torch.arange(n)) % n]  # v -> -v
    integrals = torch.einsum("uw,kwv->kuv", height.to(series.dtype), opposite)
    integrals[..., 1:] *= 2  # the terms with -v are the complex conjugates
    return integrals
