"""Rotations, with and without inversion, and their matrices on features."""

import torch
from e3nn import o3
from torch import Tensor


def random_rotation(seed: int, *, improper: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return matrix * torch.linalg.det(matrix).sign() * (-1 if improper else 1)


def wigner(l_max: int, rotation: Tensor) -> Tensor:
    """Return e3nn's Wigner D of all degrees with natural parity, (D, D), in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which e3nn makes its generators
    try:
        return o3.Irreps.spherical_harmonics(l_max).D_from_matrix(rotation)
    finally:
        torch.set_default_dtype(before)
