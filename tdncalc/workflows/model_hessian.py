"""The inverse of a model's Hessian, which an optimizer begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtri
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from tdncalc.workflows.bonds import Frame
from tdncalc.workflows.internals import internals
from tdncalc.workflows.rows import Floats

Solve = Callable[[Floats], Floats]

# Added to the stiffness in every direction: of what is not bound, and of rotations.
SOFTEST = 0.5  # eV/Å²
# A matrix of more rows is not factorized, whose cost goes with their cube.
_MOST_ROWS = 250
_TOLERANCE = 1e-6
# Rows above which OpenBLAS factorizes with all threads, which afterwards spin for 100 ms where
# others could work, and columns at a time whose products it computes with one.
_ONE_THREAD, _PANEL = 120, 16


def inverse_hessians(frames: Sequence[Frame]) -> list[Solve]:
    """Return, for each structure, what multiplies rows (R, 3) by the inverse of its model Hessian.

    The Hessian is Bᵀ K B + c, with the gradients B and the stiffness K of :func:`internals`. It is
    positive definite, and has the symmetry of the structure.
    """
    if not frames:
        return []
    gradients, stiffness = internals(frames)
    weighted = gradients.copy()
    weighted.data *= np.repeat(np.sqrt(stiffness), np.diff(gradients.indptr))
    small = [frame.n_rows <= _MOST_ROWS for frame in frames]
    solves: list[Solve] = []
    product = (weighted.T @ weighted).tocsr() if any(small) else weighted
    columns = weighted.tocsc() if not all(small) else None
    start = 0
    for frame, dense in zip(frames, small, strict=True):
        end = start + 3 * frame.n_rows
        if columns is None or dense:
            solves.append(_factorized(_block(product, start, end)))
        else:
            solves.append(_iterated(columns[:, start:end].tocsr()))
        start = end
    return solves


def _block(matrix: csr_array, start: int, end: int) -> Floats:
    """Return a diagonal block that has all that there is in its rows."""
    own = slice(matrix.indptr[start], matrix.indptr[end])
    block = np.zeros((end - start, end - start))
    rows = np.repeat(np.arange(end - start), np.diff(matrix.indptr[start : end + 1]))
    block[rows, matrix.indices[own] - start] = matrix.data[own]
    return block


def _factorized(hessian: Floats) -> Solve:
    hessian[np.diag_indices(len(hessian))] += SOFTEST
    factor = dpotrf(hessian, lower=1)[0] if len(hessian) <= _ONE_THREAD else _by_panels(hessian)

    def solve(rows: Floats) -> Floats:
        return np.asarray(dpotrs(factor, rows.ravel(), lower=1)[0]).reshape(-1, 3)

    return solve


def _by_panels(matrix: Floats) -> Floats:
    """Return the Cholesky factor, in the lower triangle, of a matrix that is overwritten."""
    for start in range(0, len(matrix), _PANEL):
        end = start + _PANEL
        panel = matrix[start:, start:end]
        panel -= matrix[start:, :start] @ matrix[start:end, :start].T
        panel[:_PANEL], _ = dpotrf(panel[:_PANEL], lower=1)
        inverse, _ = dtrtri(panel[:_PANEL], lower=1)
        panel[_PANEL:] = panel[_PANEL:] @ inverse.T
    return np.asfortranarray(matrix)


def _iterated(weighted: csr_array) -> Solve:
    """Solve by conjugate gradients, which need products with B only."""
    transposed = weighted.T.tocsr()
    diagonal = transposed.power(2).sum(axis=1) + SOFTEST
    shape = (len(diagonal), len(diagonal))
    hessian = LinearOperator(shape, lambda v: transposed @ (weighted @ v) + SOFTEST * v)
    scaled = LinearOperator(shape, lambda v: v / diagonal)

    def solve(rows: Floats) -> Floats:
        found, _ = cg(hessian, rows.ravel(), rtol=_TOLERANCE, M=scaled)
        return np.asarray(found).reshape(-1, 3)

    return solve
