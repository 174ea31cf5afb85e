"""The same product path by path through e3nn: the reference for tests and comparisons."""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tdncalc.nn.spherical import degree_slice

if TYPE_CHECKING:
    from e3nn.o3 import TensorProduct as E3NNProduct

__all__ = ["ClebschGordan", "e3nn_product", "from_e3nn", "to_e3nn"]


class ClebschGordan(nn.Module):
    """Evaluate z[k, c] = Σ M[i, j, k] x[i, c] y[j, c] as a sum over paths (l1, l2) -> l3 by e3nn.

    Parameters
    ----------
    tensor
        The coupling tensor M, (D, D, D); each block is a multiple of e3nn's Wigner 3j symbol.
    l_in, l_edge, l_out
        Largest degrees of x, y and z.
    """

    def __init__(self, tensor: Tensor, l_in: int, l_edge: int, l_out: int) -> None:
        super().__init__()
        self.degrees = (l_in, l_edge, l_out)
        self.paths = _paths(tensor, *self.degrees)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (N, D_in, C) with y (N, D_edge, 1 or C) to z (N, D_out, C)."""
        l_in, l_edge, l_out = self.degrees
        channels, many = x.shape[-1], y.shape[-1] > 1
        paths = tuple(path[:3] for path in self.paths)
        product = e3nn_product(self.degrees, paths, channels, many, x.dtype, x.device)
        weights = [x.new_full((channels,), path[3]) for path in self.paths]
        out = product(to_e3nn(x, l_in), to_e3nn(y, l_edge), torch.cat(weights))
        return from_e3nn(out, l_out, channels)


def _paths(tensor: Tensor, l_in: int, l_edge: int, l_out: int) -> list[tuple[int, int, int, float]]:
    """Return (l1, l2, l3, factor of the Wigner 3j block) of every path of the tensor."""
    from e3nn.o3 import wigner_3j

    paths = []
    for l1 in range(l_in + 1):
        for l2 in range(l_edge + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, l_out) + 1):
                block = tensor[degree_slice(l1), degree_slice(l2), degree_slice(l3)].double()
                symbol = wigner_3j(l1, l2, l3, dtype=torch.float64)
                factor = float((block * symbol).sum() / (symbol**2).sum())
                if abs(factor) > 1e-12:
                    paths.append((l1, l2, l3, factor))
    return paths


@lru_cache(maxsize=32)
def e3nn_product(
    degrees: tuple[int, int, int],
    paths: tuple[tuple[int, int, int], ...],
    channels: int,
    many: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> "E3NNProduct":
    """Return e3nn's product over the paths, which takes their weights as its third argument."""
    from e3nn.o3 import Irreps, TensorProduct, wigner_3j

    l_in, l_edge, l_out = degrees
    product = TensorProduct(
        Irreps([(channels, (degree, 1)) for degree in range(l_in + 1)]),
        Irreps([(channels if many else 1, (degree, 1)) for degree in range(l_edge + 1)]),
        Irreps([(channels, (degree, 1)) for degree in range(l_out + 1)]),
        [(*path, "uuu" if many else "uvu", True) for path in paths],
        irrep_normalization="none",
        path_normalization="none",
        internal_weights=False,
        shared_weights=True,
    ).double()
    for name, symbol in product.named_buffers():
        if "_w3j_" in name:  # rounded by e3nn to torch's default dtype
            l1, l2, l3 = map(int, name.split("_")[-3:])
            symbol.copy_(wigner_3j(l1, l2, l3, dtype=torch.float64))
    return product.to(device, dtype)


def to_e3nn(x: Tensor, l_max: int) -> Tensor:
    """(N, D, C) -> (N, D·C) with e3nn's order: degree, channel, component."""
    parts = [x[:, degree_slice(degree)].transpose(1, 2) for degree in range(l_max + 1)]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def from_e3nn(x: Tensor, l_max: int, channels: int) -> Tensor:
    """(N, D·C) in e3nn's order -> (N, D, C)."""
    sizes = [channels * (2 * degree + 1) for degree in range(l_max + 1)]
    parts = [part.unflatten(1, (channels, -1)).transpose(1, 2) for part in x.split(sizes, dim=1)]
    return torch.cat(parts, dim=1)
