"""Products of spherical matrices: features as (2j+1) × (2j+1) matrices, multiplied."""

import math

import torch
from torch import Tensor

from tdncalc.laboratory.paths import block
from tdncalc.laboratory.product import Product

__all__ = ["MatrixProduct"]


class MatrixProduct(Product):
    r"""Degrees 0 to 2j as a square matrix of degree j, matrix product, and back.

    .. math:: X = \sum_{lm} x_{lm} \sqrt{2l+1}\, W^{l j j}_{m}, \qquad Z = X Y
        \quad\text{or}\quad \tfrac12 (X Y + Y X)

    with j = ⌈L/2⌉ (Xie et al., arXiv:2506.13523). L = 2 is the product of 3 × 3 matrices of
    TensorNet (Simeon and De Fabritiis, NeurIPS 2023), whose symmetric form respects reflections:
    transposition, :math:`X_l^\mathsf{T} = (-1)^l X_l`, leaves it only paths of even l1 + l2 + l3.

    Parameters
    ----------
    l_max
        The largest degree L.
    symmetric
        Whether to take (XY + YX) / 2 and not XY.
    """

    def __init__(self, l_max: int, *, symmetric: bool) -> None:
        j = (l_max + 1) // 2
        blocks = [math.sqrt(2 * degree + 1) * block((degree, j, j)) for degree in range(l_max + 1)]
        matrices = torch.cat(blocks)  # (D, n, n), orthonormal
        super().__init__(_definition(matrices, symmetric=symmetric))
        self.symmetric, self.n = symmetric, 2 * j + 1
        self.constant("matrices", matrices.flatten(1))  # (D, n·n)

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        matrices, shape = self.get_buffer("matrices"), (self.n, self.n)
        left = (matrices.T @ x).unflatten(-2, shape)  # (…, n, n, C)
        if y.dim() == x.dim():
            product = self._many(left, (matrices.T @ y).unflatten(-2, shape))
        else:
            product = self._one(left, (y @ matrices).unflatten(-1, shape))
        return matrices @ product.flatten(-3, -2)

    def _many(self, left: Tensor, right: Tensor) -> Tensor:
        product = torch.einsum("...abc,...bdc->...adc", left, right)
        if self.symmetric:
            product = (product + torch.einsum("...abc,...bdc->...adc", right, left)) / 2
        return product

    def _one(self, left: Tensor, right: Tensor) -> Tensor:
        product = right.transpose(-1, -2)[..., None, :, :] @ left  # X Y: (…, n, n, C)
        if self.symmetric:
            other = (right @ left.flatten(-2)).unflatten(-1, (self.n, -1))
            product = (product + other) / 2
        return product

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the changes of basis and the products of matrices."""
        n, second = self.n, channels if many else 1
        products = (2 if self.symmetric else 1) * 2 * n**3 + (2 * n**2 if self.symmetric else 0)
        return 2 * self.size * n**2 * (2 * channels + second) + channels * products

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the matrices of all channels."""
        return (6 if self.symmetric else 3) * channels * self.n**2


def _definition(matrices: Tensor, *, symmetric: bool) -> Tensor:
    tensor = torch.einsum("iab,jbd,kad->ijk", matrices, matrices, matrices)
    return (tensor + tensor.transpose(0, 1)) / 2 if symmetric else tensor
