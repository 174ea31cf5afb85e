"""Exact CP factors of high degrees: sets of vectors that a group of rotations permutes."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tdncalc.errors import OptionError
from tdncalc.nn.decomposition import CPFactors
from tdncalc.nn.spherical import SphericalHarmonics

__all__ = ["SymmetryGroup", "symmetric_factors"]

SymmetryGroup = Literal["tetrahedron", "pentagon"]

_EXACT = 1e-13  # relative residual at which little is left but rounding
_STARTS = 40
_STEPS = 150
_STALLED = 1.02  # a start that improves by less in ten steps has ended in a local minimum


@dataclass(frozen=True)
class _Symmetry:
    """The matrices of a group, (G, D, D), and the projections of the sets, (n, D, D)."""

    turns: Tensor
    projections: Tensor


def symmetric_factors(
    tensor: Tensor, group: SymmetryGroup, sizes: Sequence[int], *, seed: int = 0
) -> CPFactors:
    r"""Decompose a Gaunt tensor into cubes, :math:`M = \sum_o \sum_g (D_g v_o)^{\otimes 3}`.

    The Gaunt tensor is the same for every order of its indices and for every rotation g of the
    features, so its terms may come in sets that the rotations of a group permute. Only one vector
    of each set is unknown, at most D·n numbers for n sets instead of 3·D·R, found by
    Levenberg-Marquardt steps from random starts.

    Parameters
    ----------
    tensor
        M, (D, D, D), symmetric and invariant under rotations.
    group
        ``tetrahedron``, 12 rotations, or ``pentagon``, the 10 rotations of a flat one in space.
    sizes
        Vectors in each set: 12, or one of 10, 5, 2 and 1. The rank is their sum.
    seed
        Of the random starts. torch's global generator is left alone.

    Returns
    -------
    CPFactors
        With three equal factors; the best found if no start was exact.

    Raises
    ------
    OptionError
        The group has no sets of these sizes.
    """
    target = tensor.detach().to("cpu", torch.float64)
    symmetry = _symmetry(target, group, sizes)
    generator = torch.Generator("cpu").manual_seed(seed)
    best, found = math.inf, torch.zeros(len(sizes), len(target))
    for _ in range(_STARTS):
        start = _start(target, sizes, generator)
        residual, vectors = _descend(target, symmetry, start)
        if residual < best:
            best, found = residual, vectors
        if best < _EXACT:
            break
    factor = _distinct(_images(symmetry.turns, found))
    return CPFactors(factor, factor, factor, best)


def _symmetry(tensor: Tensor, group: SymmetryGroup, sizes: Sequence[int]) -> _Symmetry:
    rotations, stabilizers = _GROUPS[group]
    for size in sizes:
        if size not in stabilizers:
            raise OptionError(
                f"sets of {size} are not known for group {group!r}; "
                f"allowed: {', '.join(map(str, stabilizers))}"
            )
    turns = _on_features(tensor, rotations())
    projections = [turns[: stabilizers[size]].mean(0) for size in sizes]
    return _Symmetry(turns, torch.stack(projections))


def _on_features(tensor: Tensor, rotations: Sequence[Tensor]) -> Tensor:
    """Return the matrices of rotations on features, (G, D, D), from harmonics of turned points."""
    evaluate = SphericalHarmonics(math.isqrt(len(tensor)) - 1, tensor)
    generator = torch.Generator("cpu").manual_seed(0)
    points = torch.randn(2 * len(tensor), 3, generator=generator, dtype=torch.float64, device="cpu")
    points = torch.nn.functional.normalize(points, dim=1)
    before = evaluate(points)
    return torch.stack(
        [torch.linalg.lstsq(before, evaluate(points @ g.T)).solution.T for g in rotations]
    )


def _tetrahedron() -> list[Tensor]:
    """Return cyclic permutations of x, y, z with an even number of signs changed."""
    eye = torch.eye(3, dtype=torch.float64, device="cpu")
    signs = [s for s in itertools.product((1.0, -1.0), repeat=3) if math.prod(s) > 0]
    return [
        torch.tensor(sign, dtype=torch.float64, device="cpu")[:, None] * eye.roll(shift, 0)
        for shift in range(3)
        for sign in signs
    ]


def _pentagon() -> list[Tensor]:
    """Return five rotations about y, then each after a half turn about x."""
    angles = [2 * math.pi * n / 5 for n in range(5)]
    about = [
        torch.tensor(
            [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]],
            dtype=torch.float64,
            device="cpu",
        )
        for a in angles
    ]
    half = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64, device="cpu"))
    return about + [rotation @ half for rotation in about]


# The rotations, and by size of a set how many of the first ones leave its first vector alone.
_GROUPS = {
    "tetrahedron": (_tetrahedron, {12: 1}),
    "pentagon": (_pentagon, {10: 1, 2: 5, 1: 10}),
}


def _start(tensor: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return random vectors (n, D) of about the length that those of a solution have."""
    length = (len(tensor) / sum(sizes)) ** (1 / 3)
    shape = (len(sizes), len(tensor))
    draw = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    scaled: Tensor = length / len(tensor) ** 0.5 * draw
    return scaled


def _descend(tensor: Tensor, symmetry: _Symmetry, vectors: Tensor) -> tuple[float, Tensor]:
    """Improve vectors (n, D) by damped Gauss-Newton steps; return the relative residual too."""
    vectors = _projected(symmetry, vectors)
    residual = _residual(tensor, symmetry, vectors)
    damping, history = 0.1 * residual, [residual]
    normal, gradient = _normal_equations(tensor, symmetry, vectors)
    for _ in range(_STEPS):
        trial = _projected(symmetry, vectors + _step(normal, gradient, damping))
        after = _residual(tensor, symmetry, trial)
        if not after < residual:
            damping *= 4.0
            if damping > 1e6:
                break
            continue
        vectors, residual = trial, after
        history.append(residual)
        if residual < 0.1 * _EXACT or (history[-11:-10] or [math.inf])[0] < _STALLED * residual:
            break
        damping = max(0.25 * damping, 1e-13)
        normal, gradient = _normal_equations(tensor, symmetry, vectors)
    return residual, vectors


def _step(normal: Tensor, gradient: Tensor, damping: float) -> Tensor:
    damped = normal.clone()
    damped.diagonal().add_(damping)
    lower, failed = torch.linalg.cholesky_ex(damped)
    if failed:  # not positive definite to rounding: no step, more damping
        return torch.zeros_like(gradient)
    return torch.cholesky_solve(gradient.flatten()[:, None], lower).view_as(gradient)


def _normal_equations(
    tensor: Tensor, symmetry: _Symmetry, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return JᵀJ, (n·D, n·D), and Jᵀ(M − CP), (n, D), both divided by the order of the group."""
    turns, p = symmetry.turns, symmetry.projections
    images = _images(turns, vectors)  # (n, G, D)
    back = torch.einsum("oi,gij->ogj", vectors, turns)
    overlaps = torch.einsum("oi,pgi->opg", vectors, images)
    both = torch.einsum("ijk,oj,ok->oi", tensor, vectors, vectors)
    gradient = 3.0 * (both - torch.einsum("opg,pgi->oi", overlaps**2, images))
    normal = 3.0 * torch.einsum("opg,gij->oipj", overlaps**2, turns)
    normal += 6.0 * torch.einsum("opg,pgi,ogj->oipj", overlaps, images, back)
    normal = torch.einsum("oai,oipj,pjb->oapb", p, normal, p).flatten(2).flatten(0, 1)
    return (normal + normal.T) / 2, _projected(symmetry, gradient)


def _residual(tensor: Tensor, symmetry: _Symmetry, vectors: Tensor) -> float:
    factor = _images(symmetry.turns, vectors).flatten(0, 1)  # (n·G, D)
    pairs = (factor[:, :, None] * factor[:, None, :]).flatten(1)  # (n·G, D·D)
    return float(((factor.T @ pairs).view_as(tensor) - tensor).norm() / tensor.norm())


def _projected(symmetry: _Symmetry, vectors: Tensor) -> Tensor:
    return torch.einsum("oij,oj->oi", symmetry.projections, vectors)


def _images(turns: Tensor, vectors: Tensor) -> Tensor:
    return torch.einsum("gij,oj->ogi", turns, vectors)  # (n, G, D)


def _distinct(images: Tensor) -> Tensor:
    """Return the images (n, G, D) as columns, (D, R); equal cubes become one of their sum."""
    columns = []
    for image in images:
        same = torch.cdist(image, image) < 1e-6 * image.norm()  # (G, G)
        first = [g for g in range(len(image)) if not bool(same[g, :g].any())]
        columns.append(image[first] * (len(image) / len(first)) ** (1 / 3))
    return torch.cat(columns).T
