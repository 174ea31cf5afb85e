"""Tucker decomposition of the coupling tensor: a small core between three bases."""

import torch
from torch import Tensor

from tdncalc.laboratory.product import Product

__all__ = ["Tucker", "hooi"]


def hooi(tensor: Tensor, rank: int, *, sweeps: int = 20) -> tuple[Tensor, list[Tensor]]:
    """Decompose M ≈ core ×₁ U₁ ×₂ U₂ ×₃ U₃ by higher-order orthogonal iteration.

    Starts from the higher-order singular value decomposition (De Lathauwer et al. 2000).

    Parameters
    ----------
    tensor
        M, (D, D, D) float64.
    rank
        Columns of each basis, 1 to D.
    sweeps
        Rounds of the iteration.

    Returns
    -------
    core
        (rank, rank, rank).
    bases
        Three matrices with orthonormal columns, (D, rank).
    """
    bases = [_leading(tensor.movedim(mode, 0), rank) for mode in range(3)]
    for _ in range(sweeps if rank < len(tensor) else 0):
        for mode in range(3):
            others = [bases[m] for m in range(3) if m != mode]
            shrunk = torch.einsum("iab,ap,bq->ipq", tensor.movedim(mode, 0), *others)
            bases[mode] = _leading(shrunk, rank)
    return torch.einsum("ijk,ip,jq,kr->pqr", tensor, *bases), bases


def _leading(unfolded: Tensor, rank: int) -> Tensor:
    vectors, _, _ = torch.linalg.svd(unfolded.flatten(1), full_matrices=False)
    leading: Tensor = vectors[:, :rank]
    return leading


class Tucker(Product):
    """Both operands into their bases, a matrix per edge from the core, and back.

    By Schur's lemma all components of a degree share one singular value: a truncation drops whole
    degrees, or breaks the symmetry.

    Parameters
    ----------
    tensor
        M, (D, D, D).
    rank
        Size of the core in each direction; D is exact.
    """

    def __init__(self, tensor: Tensor, rank: int) -> None:
        super().__init__(tensor)
        self.rank = rank
        core, (first, second, out) = hooi(tensor, rank)
        self.constant("first", first.T)  # (rank, D)
        self.constant("second", second)  # (D, rank)
        self.constant("out", out)  # (D, rank)
        self.constant("by_edge", core.permute(1, 2, 0).flatten(1))  # (rank, rank·rank)
        self.constant("by_node", core.flatten(0, 1).T)  # (rank, rank·rank)

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        u = self.get_buffer("first") @ x  # (…, rank, C)
        second = self.get_buffer("second")
        if y.dim() == x.dim():
            pairs = (u[..., :, None, :] * (second.T @ y)[..., None, :, :]).flatten(-3, -2)
            return self.get_buffer("out") @ (self.get_buffer("by_node") @ pairs)
        matrix: Tensor = ((y @ second) @ self.get_buffer("by_edge")).unflatten(
            -1, (self.rank, self.rank)
        )
        return self.get_buffer("out") @ (matrix @ u)

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the changes of basis and the product with the core."""
        r, d = self.rank, self.size
        if many:
            return channels * (6 * d * r + r**2 + 2 * r**3)
        return channels * (4 * d * r + 2 * r**2) + 2 * d * r + 2 * r**3

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the matrix of an edge, or of the outer product."""
        return self.rank * (self.rank * channels if many else max(self.rank, channels))
