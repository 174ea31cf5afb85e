"""The constant tensor that couples all degrees at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from tdncalc.errors import OptionError
from tdncalc.nn.decomposition import CPFactors, cp_factors
from tdncalc.nn.spherical import degree_slice
from tdncalc.nn.symmetric_decomposition import SymmetryGroup, symmetric_factors

__all__ = [
    "EXACT_RANKS",
    "CPFactors",
    "Coupling",
    "PathSet",
    "PathWeights",
    "approximate_coupling",
    "build_coupling",
    "coupling_tensor",
    "cp_factors",
    "paper_rank",
]

PathSet = Literal["O3", "SO3"]
PathWeights = Literal["gaunt", "equal"]

# Sets of terms that the rotations of a group permute, where alternation no longer ends in time.
_SYMMETRIC_SETS: dict[int, tuple[SymmetryGroup, tuple[int, ...]]] = {
    4: ("tetrahedron", (12,) * 5),
    5: ("tetrahedron", (12,) * 7),
    6: ("pentagon", (10,) * 12 + (2, 1)),
}

# Lowest ranks, by degree, at which every seed tried gave an exact decomposition.
EXACT_RANKS: dict[tuple[PathSet, PathWeights], dict[int, int]] = {
    ("O3", "gaunt"): {0: 1, 1: 6, 2: 18, 3: 32}
    | {l_max: sum(sizes) for l_max, (_, sizes) in _SYMMETRIC_SETS.items()},
    ("O3", "equal"): {0: 1, 1: 6, 2: 19, 3: 56},
    ("SO3", "equal"): {0: 1, 1: 8, 2: 31},
}

_MAX_DEGREE = 11  # where e3nn's spherical harmonics end


@dataclass(frozen=True)
class Coupling:
    """A coupling tensor, (D, D, D), with its CP factors."""

    tensor: Tensor
    factors: CPFactors

    @property
    def l_max(self) -> int:
        """The largest degree."""
        return math.isqrt(self.tensor.shape[0]) - 1


def paper_rank(l_max: int) -> int:
    """Return the rank 7 L² at which arXiv:2507.01131 approximates the tensor of all paths."""
    return 7 * l_max**2


def build_coupling(
    l_max: int,
    *,
    paths: PathSet = "O3",
    weights: PathWeights = "gaunt",
    rank: int | None = None,
    seed: int = 0,
) -> Coupling:
    """Return the coupling tensor with factors of the given rank, or of the lowest known exact one.

    Raises
    ------
    OptionError
        No rank is given and no exact one is known for these degrees, paths and weights.
    """
    tensor = coupling_tensor(l_max, paths=paths, weights=weights)
    if rank is None:
        rank = _exact_rank(l_max, paths, weights)
        if weights == "gaunt" and l_max in _SYMMETRIC_SETS:
            group, sizes = _SYMMETRIC_SETS[l_max]
            return Coupling(tensor, symmetric_factors(tensor, group, sizes, seed=seed))
    return Coupling(tensor, cp_factors(tensor, rank, seed=seed))


@lru_cache(maxsize=8)
def approximate_coupling(l_max: int, rank: int | None = None) -> Coupling:
    """Return the paper's coupling: all paths with equal weights, factors of rank 7 L².

    They miss the tensor by 2 % at L = 2, 7 % at L = 3. One start of alternating least squares, the
    same on every call; the paper takes 50,000 steps of an optimizer.
    """
    tensor = coupling_tensor(l_max, paths="SO3", weights="equal")
    rank = paper_rank(l_max) if rank is None else rank
    return Coupling(tensor, cp_factors(tensor, max(rank, 1), thorough=False))


def _exact_rank(l_max: int, paths: PathSet, weights: PathWeights) -> int:
    known = EXACT_RANKS[paths, weights]
    if l_max not in known:
        raise OptionError(
            f"no exact rank is known for l_max {l_max}, paths {paths}, weights {weights} "
            f"(only up to l_max {max(known)}); give a rank, such as {paper_rank(l_max)}"
        )
    return known[l_max]


def coupling_tensor(l_max: int, *, paths: PathSet = "O3", weights: PathWeights = "gaunt") -> Tensor:
    r"""Return the tensor that couples all degrees up to L, the path-weight-shared M of TDN.

    Each path (l1, l2, l3) fills one block with a multiple of the Wigner 3j symbol in e3nn's real
    basis, W, whose Frobenius norm is 1 (arXiv:2507.01131, path-weight sharing):

    .. math:: M_{l_1 m_1, l_2 m_2, l_3 m_3} = g_{l_1 l_2 l_3} W_{m_1 m_2 m_3}^{l_1 l_2 l_3}

    ``gaunt``
        .. math:: g = \sqrt{(2l_1+1)(2l_2+1)(2l_3+1)} \, W_{000}, \qquad
                  M_{ijk} = \frac{1}{4\pi} \int Y_i Y_j Y_k \, d\Omega

        with component-normalized harmonics, :math:`\int Y_i Y_j \, d\Omega = 4\pi\delta_{ij}`. M is
        symmetric in its three indices, and :math:`M_{i0k} = \delta_{ik}`.
    ``equal``
        g = 1, so :math:`M_{000} = 1` and :math:`M_{i0k} = \delta_{ik} / \sqrt{2l_k+1}`. With the
        paths of SO3 it is the tensor of the paper; the sign of a block is that of e3nn's symbol.

    Parameters
    ----------
    l_max
        The largest degree L, 0 to 11.
    paths
        ``O3`` keeps the paths with even l1 + l2 + l3, which respect reflections; ``SO3`` keeps all.
    weights
        How the paths are weighted. Odd paths have no Gaunt weight, so ``gaunt`` needs ``O3``.

    Returns
    -------
    Tensor
        M, (D, D, D) float64 with D = (L+1)², components in e3nn's order.

    Raises
    ------
    OptionError
        An argument is outside of the above.
    """
    _check_tensor_options(l_max, paths, weights)
    n_components = (l_max + 1) ** 2
    tensor = torch.zeros((n_components,) * 3, dtype=torch.float64, device="cpu")
    for degrees in _paths(l_max, paths):
        block = _wigner_3j(*degrees)
        if weights == "gaunt":
            # m = 0 stands in the middle of a degree; this product has no sign to choose
            block = math.sqrt(block.numel()) * block[degrees] * block
        tensor[tuple(map(degree_slice, degrees))] = block
    return tensor


def _check_tensor_options(l_max: int, paths: str, weights: str) -> None:
    if not 0 <= l_max <= _MAX_DEGREE:
        raise OptionError(f"l_max {l_max} is not allowed; give 0 to {_MAX_DEGREE}")
    if paths not in get_args(PathSet):
        raise OptionError(f"paths {paths!r} is not known; allowed: {', '.join(get_args(PathSet))}")
    if weights not in get_args(PathWeights):
        allowed = ", ".join(get_args(PathWeights))
        raise OptionError(f"weights {weights!r} is not known; allowed: {allowed}")
    if (paths, weights) == ("SO3", "gaunt"):
        raise OptionError(
            "weights 'gaunt' are zero on the odd paths of paths 'SO3'; "
            "use paths 'O3', or weights 'equal'"
        )


def _paths(l_max: int, paths: PathSet) -> Iterator[tuple[int, int, int]]:
    for l1 in range(l_max + 1):
        for l2 in range(l_max + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, l_max) + 1):
                if paths == "SO3" or (l1 + l2 + l3) % 2 == 0:
                    yield l1, l2, l3


def _wigner_3j(l1: int, l2: int, l3: int) -> Tensor:
    from e3nn.o3 import wigner_3j

    with torch.device("cpu"):  # e3nn builds on the default device
        symbol: Tensor = wigner_3j(l1, l2, l3, dtype=torch.float64)
    return symbol
