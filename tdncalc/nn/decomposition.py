"""CP decomposition of small three-way tensors to rounding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tdncalc.errors import OptionError

__all__ = ["CPFactors", "cp_factors"]

_EXACT = 1e-14  # relative residual at which nothing is left but rounding
# Below the exact rank the residual may fall as terms grow that cancel, at the cost of precision.
_MAX_CANCELLATION = 10.0
_STARTS = 8
_SWEEPS = 400
_QUICK_STARTS, _QUICK_SWEEPS = 8, 200
_STEPS = 100
_MANY_UNKNOWNS = 1500  # beyond it a step costs a tenth of a second and more: polish one start only
_MANY_MORE_UNKNOWNS = 4000  # beyond it a sweep costs a hundredth of a second


@dataclass(frozen=True)
class CPFactors:
    r"""Factors of a CP decomposition, :math:`M_{ijk} ≈ \sum_r A_{ir} B_{jr} C_{kr}`.

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


def cp_factors(tensor: Tensor, rank: int, *, seed: int = 0, thorough: bool = True) -> CPFactors:
    r"""Decompose a tensor into R rank-one terms, :math:`M_{ijk} ≈ \sum_r A_{ir} B_{jr} C_{kr}`.

    Alternating least squares with a damping that shrinks with the residual, from several random
    starts; then Levenberg-Marquardt steps from the best of them, because alternation crawls where
    exact decompositions form a family. Stops at the first exact decomposition; below the exact rank
    the best one found whose terms do not grow and cancel is returned with its residual.

    Parameters
    ----------
    tensor
        M, (D1, D2, D3), finite and not zero.
    rank
        The number of terms R, at least 1.
    seed
        Of the random starts. torch's global generator is left alone.
    thorough
        If not, fewer sweeps, and polishing or several starts only of few unknowns: for factors
        that will not be exact anyway.

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
    if thorough:
        residual, (a, b, c) = _best(target, rank, generator)
    else:
        residual, (a, b, c) = _quick_best(target, rank, generator)
    return CPFactors(a, b, c, residual)


def _best(tensor: Tensor, rank: int, generator: torch.Generator) -> tuple[float, list[Tensor]]:
    def merit(found: tuple[float, list[Tensor]]) -> tuple[bool, float]:
        return _cancellation(tensor, found[1]) > _MAX_CANCELLATION, found[0]

    starts: list[tuple[float, list[Tensor]]] = []
    for _ in range(_STARTS):
        starts.append(_alternate(tensor, _random_start(tensor, rank, generator)))
        if starts[-1][0] < _EXACT:
            return starts[-1]
    starts.sort(key=merit)
    best = starts[0]
    for start in starts[: 1 if sum(tensor.shape) * rank > _MANY_UNKNOWNS else _STARTS]:
        best = min(best, _polish(tensor, *start), key=merit)
        if best[0] < _EXACT:
            break
    return best


def _quick_best(
    tensor: Tensor, rank: int, generator: torch.Generator
) -> tuple[float, list[Tensor]]:
    many = sum(tensor.shape) * rank > _MANY_MORE_UNKNOWNS
    starts = (
        _alternate(tensor, _random_start(tensor, rank, generator), sweeps=_QUICK_SWEEPS)
        for _ in range(1 if many else _QUICK_STARTS)
    )
    best = min(starts, key=lambda found: found[0])
    return best if sum(tensor.shape) * rank > _MANY_UNKNOWNS else _polish(tensor, *best)


def _random_start(tensor: Tensor, rank: int, generator: torch.Generator) -> list[Tensor]:
    return [
        torch.randn(size, rank, generator=generator, dtype=torch.float64, device="cpu") / size**0.5
        for size in tensor.shape
    ]


def _alternate(
    tensor: Tensor, factors: list[Tensor], *, sweeps: int = _SWEEPS
) -> tuple[float, list[Tensor]]:
    """Sweep over the three factors, a damped linear least-squares problem each."""
    residual = 1.0
    for _ in range(sweeps):
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
    normal, gradient = _normal_equations(tensor, factors)
    for _ in range(_STEPS):
        trial = _step(factors, normal, gradient, damping)
        before, after = residual, _residual(tensor, trial)
        if not after < before:
            damping *= 4.0
            continue
        if _cancellation(tensor, trial) > _MAX_CANCELLATION:
            break
        factors, residual = trial, after
        if residual < _EXACT or residual > (1.0 - 1e-4) * before:
            break
        damping = max(0.2 * damping, 1e-14)
        normal, gradient = _normal_equations(tensor, factors)
    return residual, _balanced(factors)


def _step(factors: list[Tensor], normal: Tensor, gradient: Tensor, damping: float) -> list[Tensor]:
    damped = normal.clone()
    damped.diagonal().add_(damping)
    lower, failed = torch.linalg.cholesky_ex(damped)
    if failed:  # not positive definite to rounding: no step, more damping
        return factors
    flat = torch.cholesky_solve(gradient[:, None], lower)[:, 0]
    steps = torch.split(flat, [factor.numel() for factor in factors])
    return [factor + step.view_as(factor) for factor, step in zip(factors, steps, strict=True)]


def _normal_equations(tensor: Tensor, factors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return JᵀJ, (n, n), and Jᵀ(M - CP), (n,), unknowns ordered by factor, component, term."""
    remainder = _remainder(tensor, factors)
    gradient = torch.cat([_gradient(remainder, factors, mode).flatten() for mode in range(3)])
    blocks = [[_normal_block(factors, p, q) for q in range(3)] for p in range(3)]
    return torch.cat([torch.cat(row, dim=1) for row in blocks]), gradient


def _normal_block(factors: list[Tensor], p: int, q: int) -> Tensor:
    if p == q:
        eye = torch.eye(len(factors[p]), dtype=torch.float64, device="cpu")
        return torch.kron(eye, _gram(factors, p))
    third = factors[3 - p - q]
    block = torch.einsum("is,jr,rs->irjs", factors[p], factors[q], third.T @ third)
    return block.flatten(2, 3).flatten(0, 1)


def _gram(factors: list[Tensor], mode: int) -> Tensor:
    """Return the (R, R) normal matrix of one factor, the other two fixed."""
    u, v = (factors[other] for other in range(3) if other != mode)
    return (u.T @ u) * (v.T @ v)


def _gradient(remainder: Tensor, factors: list[Tensor], mode: int) -> Tensor:
    """Return the remainder contracted with the other two factors, (D, R)."""
    u, v = (factors[other] for other in range(3) if other != mode)
    return remainder.movedim(mode, 0).flatten(1) @ _pairs(u, v)


def _remainder(tensor: Tensor, factors: list[Tensor]) -> Tensor:
    a, b, c = factors
    return tensor - (a @ _pairs(b, c).T).view_as(tensor)


def _pairs(u: Tensor, v: Tensor) -> Tensor:
    return (u[:, None] * v).flatten(0, 1)  # (D·D, R)


def _residual(tensor: Tensor, factors: list[Tensor]) -> float:
    return float(_remainder(tensor, factors).norm() / tensor.norm())


def _cancellation(tensor: Tensor, factors: list[Tensor]) -> float:
    """Return the size of the rank-one terms relative to that of their sum."""
    terms = torch.stack([factor.norm(dim=0) for factor in factors]).prod(dim=0)  # (R,)
    return float(terms.norm() / tensor.norm())


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    """Share the size of each rank-one term equally among its three vectors."""
    norms = torch.stack([factor.norm(dim=0) for factor in factors])  # (3, R)
    scales = norms.prod(dim=0) ** (1 / 3) / norms.clamp_min(1e-300)
    return [factor * scale for factor, scale in zip(factors, scales, strict=True)]
