"""Real spherical harmonics of unit vectors, built up degree by degree."""

import torch
from torch import Tensor, nn

__all__ = ["SphericalHarmonics", "degree_slice", "degrees"]


def degree_slice(degree: int) -> slice:
    """Return where the 2l+1 components of a degree stand among the D = (L+1)² components."""
    return slice(degree**2, (degree + 1) ** 2)


def degrees(l_max: int) -> Tensor:
    """Return the degree of each of the (L+1)² components, (D,) int64."""
    return torch.tensor([degree for degree in range(l_max + 1) for _ in range(2 * degree + 1)])


class SphericalHarmonics(nn.Module):
    r"""Real spherical harmonics up to degree L, component normalization, e3nn's component order.

    Each degree follows from the one below by the Gaunt coupling with degree 1,

    .. math:: Y_{lk} = \frac{1}{\alpha_l} \sum_{ij} M_{ijk} Y_{l-1,i} Y_{1j},

    where M is the Gaunt tensor of :func:`tdncalc.nn.coupling.coupling_tensor` and
    :math:`\alpha_l = \sum_{ij} M_{ijk}^2`. Component normalization: :math:`\sum_m Y_{lm}^2 = 2l+1`.
    Degree 1 is √3 (x, y, z).

    Parameters
    ----------
    l_max
        The largest degree L.
    tensor
        The Gaunt coupling tensor of at least degree L, (D, D, D).
    """

    def __init__(self, l_max: int, tensor: Tensor) -> None:
        super().__init__()
        self.l_max = l_max
        for degree in range(2, l_max + 1):
            block = tensor[degree_slice(degree - 1), 1:4, degree_slice(degree)]
            block = block / (block**2).sum((0, 1))
            self.register_buffer(f"step_{degree}", block.flatten(0, 1), persistent=False)

    def forward(self, unit_vectors: Tensor) -> Tensor:
        """Evaluate the harmonics: unit vectors (E, 3) -> (E, D)."""
        first = unit_vectors * 3**0.5  # (E, 3)
        levels = [torch.ones_like(first[:, :1]), first][: self.l_max + 1]
        for degree in range(2, self.l_max + 1):
            pairs = (levels[-1][:, :, None] * first[:, None, :]).flatten(1)  # (E, (2l-1)·3)
            levels.append(pairs @ self.get_buffer(f"step_{degree}"))  # (E, 2l+1)
        return torch.cat(levels, dim=1)  # (E, D)
