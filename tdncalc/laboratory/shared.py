"""One constant tensor for all channels: arXiv:2507.01131's path-weight sharing."""

from typing import Literal

import torch
from torch import Tensor

from tdncalc.laboratory.clebsch_gordan import E3NNPaths
from tdncalc.laboratory.paths import path_coefficients
from tdncalc.laboratory.product import Product
from tdncalc.nn.coupling import Coupling
from tdncalc.nn.decomposition import CPFactors
from tdncalc.nn.tensor_product import TensorProduct

__all__ = ["SharedCP", "SharedMatrix", "shared_e3nn", "slices"]


class _Shared(Product):
    """The base: one of the evaluations of :class:`tdncalc.nn.tensor_product.TensorProduct`."""

    def __init__(self, coupling: Coupling, evaluation: Literal["dense", "cp"]) -> None:
        l_max = coupling.l_max
        operator = TensorProduct(coupling, evaluation, l_in=l_max, l_edge=l_max, l_out=l_max)
        super().__init__(operator.scale * coupling.tensor)
        self.operator = operator

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        coupled: Tensor = self.operator(x, y)
        return coupled


class SharedMatrix(_Shared):
    """A matrix per edge that all channels share; for many channels all products x ⊗ y."""

    def __init__(self, tensor: Tensor) -> None:
        none = torch.zeros(len(tensor), 0, dtype=torch.float64, device="cpu")
        super().__init__(Coupling(tensor, CPFactors(none, none, none, 1.0)), "dense")

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the matrix of the edge and its product with x, or x ⊗ y and its product with M."""
        cube = self.size**3
        if many:
            return channels * (self.size**2 + 2 * cube)
        return 2 * cube + 2 * channels * self.size**2

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the matrix of an edge, or of x ⊗ y."""
        return self.size**2 * (channels if many else 1)


class SharedCP(_Shared):
    """Factors of rank R: A, B to R products, C back."""

    def __init__(self, tensor: Tensor, factors: CPFactors) -> None:
        super().__init__(Coupling(tensor, factors), "cp")
        self.rank = factors.a.shape[1]

    def flops(self, channels: int, *, many: bool) -> int:
        """Count three matrix products with the factors and R multiplications."""
        second = channels if many else 1
        return self.rank * (2 * self.size * (2 * channels + second) + channels)

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the R products and of what they are made of."""
        return self.rank * channels * (3 if many else 2)


def shared_e3nn(tensor: Tensor, channels: int) -> E3NNPaths:
    """Return e3nn's product with the path weights of an equivariant tensor, one for all channels.

    Parameters
    ----------
    tensor
        (D, D, D); each block is a multiple of e3nn's Wigner 3j symbol.
    channels
        Of the first operand, C.
    """
    weights = {p: w for p, w in path_coefficients(tensor).items() if abs(w) > 1e-12}
    values = torch.tensor(list(weights.values()), dtype=torch.float64, device="cpu")
    l_max = int(len(tensor) ** 0.5) - 1
    return E3NNPaths(l_max, values[:, None].expand(-1, channels), list(weights), fixed=True)


def slices(tensor: Tensor) -> CPFactors:
    """Return the decomposition with one term for each pair (i, j) that couples: always exact."""
    pairs = tensor.abs().sum(2).nonzero()  # (R, 2)
    eye = torch.eye(len(tensor), dtype=torch.float64, device="cpu")
    i, j = pairs.T
    return CPFactors(eye[:, i], eye[:, j], tensor[i, j].T, 0.0)
