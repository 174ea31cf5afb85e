"""Paths (l1, l2) -> l3 and the Wigner 3j blocks that they stand for."""

from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from tdncalc.nn.spherical import degree_slice

__all__ = ["Path", "all_paths", "block", "path_coefficients", "path_tensor"]

Path = tuple[int, int, int]


def all_paths(l_max: int, l_out: int | None = None, *, even: bool = False) -> list[Path]:
    """Return every (l1, l2, l3) with |l1−l2| <= l3 <= l1+l2, l1 and l2 up to L.

    Parameters
    ----------
    l_max
        The largest degree L of the operands.
    l_out
        The largest l3; L if None.
    even
        Only those with l1 + l2 + l3 even, which respect reflections.
    """
    largest = l_max if l_out is None else l_out
    return [
        (l1, l2, l3)
        for l1, l2 in product(range(l_max + 1), repeat=2)
        for l3 in range(abs(l1 - l2), min(l1 + l2, largest) + 1)
        if not (even and (l1 + l2 + l3) % 2)
    ]


@lru_cache(maxsize=1024)
def block(path: Path) -> Tensor:
    """Return e3nn's real Wigner 3j symbol, (2l1+1, 2l2+1, 2l3+1) float64 of norm 1."""
    from e3nn.o3 import wigner_3j

    with torch.device("cpu"):  # e3nn builds on the default device
        symbol: Tensor = wigner_3j(*path, dtype=torch.float64)
    return symbol


def path_tensor(l_max: int, weights: dict[Path, Tensor]) -> Tensor:
    """Return the sum of the blocks times weights of one shape S, (D, D, D, *S) float64."""
    shape = next(iter(weights.values())).shape
    size = (l_max + 1) ** 2
    tensor = torch.zeros((size, size, size, *shape), dtype=torch.float64, device="cpu")
    for path, weight in weights.items():
        expanded = block(path).reshape(*block(path).shape, *(1 for _ in shape))
        tensor[tuple(map(degree_slice, path))] += expanded * weight.double()
    return tensor


def path_coefficients(tensor: Tensor) -> dict[Path, float]:
    """Return the weight of every block of an equivariant tensor (D, D, D); 0 for what is absent."""
    l_max = int(len(tensor) ** 0.5) - 1
    return {
        path: float((tensor[tuple(map(degree_slice, path))] * block(path)).sum())
        for path in all_paths(l_max)
    }
