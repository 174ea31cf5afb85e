"""The constant tensor that couples all degrees at once, and its CP factors."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tdncalc.errors import OptionError

__all__ = [
    "EXACT_RANKS",
    "CPFactors",
    "Coupling",
    "PathSet",
    "PathWeights",
    "build_coupling",
    "coupling_tensor",
    "cp_factors",
    "paper_rank",
]

PathSet = Literal["O3", "SO3"]
PathWeights = Literal["gaunt", "equal"]

# Lowest ranks, by degree, at which the decomposition was found to be exact.
EXACT_RANKS: dict[tuple[PathSet, PathWeights], dict[int, int]] = {
    ("O3", "gaunt"): {0: 1, 1: 6, 2: 18, 3: 32},
    ("O3", "equal"): {0: 1, 1: 6, 2: 18},
    ("SO3", "equal"): {0: 1, 1: 8, 2: 36},
}

_MAX_DEGREE = 11  # where e3nn's spherical harmonics end
_EXACT = 1e-14  # relative residual at which nothing is left but rounding
_STARTS, _POLISHED = 8, 3
_SWEEPS, _STEPS = 400, 60


@dataclass(frozen=True)
class CPFactors:
    r"""Factors of the canonical polyadic decomposition :math:`M_{ijk} ≈ \sum_r A_{ir} B_{jr} C_{kr}`.

    Attributes
    ----------
    a, b, c
        The factors, each (D, R) float64.
    residual
        :math:`\|M - CP\| / \|M\|` in the Frobenius norm.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    residual: float


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
    known = EXACT_RANKS[paths, weights]
    if rank is None and l_max not in known:
        degrees = ", ".join(map(str, known))
        raise OptionError(
            f"no exact rank is known for l_max {l_max}, paths {paths}, weights {weights} "
            f"(only for l_max {degrees}); give a rank, such as {paper_rank(l_max)}"
        )
    return Coupling(tensor, cp_factors(tensor, rank or known[l_max], seed=seed))


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
        g = 1, so :math:`M_{000} = 1` and :math:`M_{i0k} = \delta_{ik} / \sqrt{2l_k+1}`. With the paths
        of SO3 it is the tensor of the paper; the sign of a block is that of e3nn's symbol.

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
        tensor[tuple(slice(l**2, (l + 1) ** 2) for l in degrees)] = block
    tensor[tensor.abs() < 1e-12] = 0.0  # rounding left by the change to the real basis
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


def cp_factors(tensor: Tensor, rank: int, *, seed: int = 0) -> CPFactors:
    r"""Decompose a tensor into R rank-one terms, :math:`M_{ijk} ≈ \sum_r A_{ir} B_{jr} C_{kr}`.

    Alternating least squares with a damping that shrinks with the residual, from several random
    starts; then the best of them are polished by the Levenberg-Marquardt method, because alternation
    crawls where the factors of an exact decomposition can be moved along a family. Stops at the first
    exact decomposition; below the exact rank the best one found is returned with its residual.

    Parameters
    ----------
    tensor
        M, (D1, D2, D3), finite and not zero.
    rank
        The number of terms R, at least 1.
    seed
        Of the random starts. torch's global generator is left alone.

    Raises
    ------
    OptionError
        The tensor or the rank is outside of the above.
    """
    target = tensor.detach().to("cpu", torch.float64)
    if target.dim() != 3 or not 0.0 < float(target.norm()) < math.inf:
        raise OptionError(f"tensor of shape {tuple(target.shape)} must be 3-way, finite, not zero")
    if rank < 1:
        raise OptionError(f"rank {rank} is not allowed; give 1 or more")
    generator = torch.Generator("cpu").manual_seed(seed)
    found: list[tuple[float, list[Tensor]]] = []
    for _ in range(_STARTS):
        found.append(_alternate(target, _random_start(target, rank, generator)))
        if found[-1][0] < _EXACT:
            break
    found.sort(key=lambda item: item[0])
    for start in found[:_POLISHED]:
        if found[0][0] >= _EXACT:
            found.append(_polish(target, *start))
            found.sort(key=lambda item: item[0])
    residual, (a, b, c) = found[0]
    return CPFactors(a, b, c, residual)


def _random_start(tensor: Tensor, rank: int, generator: torch.Generator) -> list[Tensor]:
    return [
        torch.randn(n, rank, generator=generator, dtype=torch.float64, device="cpu") / n**0.5
        for n in tensor.shape
    ]


def _alternate(tensor: Tensor, factors: list[Tensor]) -> tuple[float, list[Tensor]]:
    """Sweep over the three factors, a damped linear least-squares problem each."""
    residual = 1.0
    for _ in range(_SWEEPS):
        for mode in range(3):
            gram = _gram(factors, mode)
            gram.diagonal().add_(max(0.01 * residual**2, 1e-13) * gram.diagonal().mean())
            # a step from what is left, not the factor anew: accurate to rounding at the end
            gradient = _gradient(_remainder(tensor, factors), factors, mode)
            factors[mode] = factors[mode] + torch.linalg.solve(gram, gradient.T).T
        factors = _balanced(factors)
        residual = _residual(tensor, factors)
        if residual < _EXACT:
            break
    return residual, factors


def _polish(tensor: Tensor, residual: float, factors: list[Tensor]) -> tuple[float, list[Tensor]]:
    """Improve all factors at once by damped Gauss-Newton steps (Levenberg-Marquardt)."""
    damping = 0.01 * residual
    for _ in range(_STEPS):
        remainder = _remainder(tensor, factors)
        gradient = torch.cat([_gradient(remainder, factors, mode).flatten() for mode in range(3)])
        normal = _normal_matrix(factors)
        before = residual
        while damping < 1e3 and residual == before:
            trial = _step(factors, normal, gradient, damping)
            if _residual(tensor, trial) < residual:
                factors, residual = trial, _residual(tensor, trial)
                damping = max(0.2 * damping, 1e-14)
            else:
                damping *= 4.0
        if residual < _EXACT or residual > (1.0 - 1e-6) * before:
            break
    return residual, factors


def _step(factors: list[Tensor], normal: Tensor, gradient: Tensor, damping: float) -> list[Tensor]:
    damped = normal.clone()
    damped.diagonal().add_(damping)
    lower, failed = torch.linalg.cholesky_ex(damped)
    if failed:
        return factors
    flat = torch.cholesky_solve(gradient[:, None], lower)[:, 0]
    steps = flat.split([factor.numel() for factor in factors])
    return [factor + step.view_as(factor) for factor, step in zip(factors, steps, strict=True)]


def _normal_matrix(factors: list[Tensor]) -> Tensor:
    """Return JᵀJ of the decomposition, (n, n), unknowns ordered by factor, component, term."""
    rows = []
    for p in range(3):
        row = []
        for q in range(3):
            if p == q:
                eye = torch.eye(len(factors[p]), dtype=torch.float64, device="cpu")
                block = torch.kron(eye, _gram(factors, p))
            else:
                third = factors[3 - p - q]
                block = torch.einsum(
                    "is,jr,rs->irjs", factors[p], factors[q], third.T @ third
                ).reshape(factors[p].numel(), factors[q].numel())
            row.append(block)
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)


def _gram(factors: list[Tensor], mode: int) -> Tensor:
    """Return the (R, R) normal matrix of one factor, the other two fixed."""
    u, v = (factors[other] for other in range(3) if other != mode)
    return (u.T @ u) * (v.T @ v)


def _gradient(remainder: Tensor, factors: list[Tensor], mode: int) -> Tensor:
    """Return Σ remainder · (product of the other two factors), shaped like the factor of the mode."""
    u, v = (factors[other] for other in range(3) if other != mode)
    pairs = (u[:, None] * v).flatten(0, 1)  # (D·D, R)
    return remainder.movedim(mode, 0).flatten(1) @ pairs


def _remainder(tensor: Tensor, factors: list[Tensor]) -> Tensor:
    a, b, c = factors
    pairs = (b[:, None] * c).flatten(0, 1)  # (D·D, R)
    return tensor - (a @ pairs.T).view_as(tensor)


def _residual(tensor: Tensor, factors: list[Tensor]) -> float:
    return float(_remainder(tensor, factors).norm() / tensor.norm())


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    """Share the size of each rank-one term equally among its three vectors."""
    norms = torch.stack([factor.norm(dim=0) for factor in factors])  # (3, R)
    scales = norms.prod(dim=0) ** (1 / 3) / norms.clamp_min(1e-300)
    return [factor * scale for factor, scale in zip(factors, scales, strict=True)]
