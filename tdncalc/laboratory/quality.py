"""How good a product is: its errors, and what it can express."""

from typing import Any

import torch
from torch import Tensor

from tdncalc.laboratory.counting import expressivity, interactions
from tdncalc.laboratory.paths import all_paths
from tdncalc.laboratory.product import Product, reference
from tdncalc.laboratory.rotation import step, wigner
from tdncalc.nn.spherical import degrees

__all__ = ["counts", "errors"]


@torch.no_grad()
def errors(product: Product, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return errors against the definition, and of rotating and of inverting the operands.

    Relative, root mean square; in the dtype of the operands, x (N, D, C) and y (N, D) or (N, D, C).
    """
    z = product(x, y).double()
    expected = reference(product.definition, x.double(), y.double())
    rotation = _rotation(product.l_max).to(x.device)
    inversion = torch.diag((-1.0) ** degrees(product.l_max).double()).to(x.device)
    found = {"error": _relative(z - expected, expected)}
    for name, matrix in (("rotation_error", rotation), ("reflection_error", inversion)):
        turned = product(_turned(matrix, x), _turned(matrix, y))
        found[name] = _relative(turned.double() - matrix @ z, z)
    return found


def _rotation(l_max: int) -> Tensor:
    """Return the matrix of one rotation on all components, (D, D) float64."""
    matrix, _ = torch.linalg.qr(torch.tensor([[1.0, 2, 3], [4, -5, 6], [-7, 8, 10]]).double())
    matrix = matrix * torch.linalg.det(matrix).sign()
    blocks = wigner(matrix, [step(degree) for degree in range(2, l_max + 1)])
    joined: Tensor = torch.block_diag(*blocks)
    return joined


def _turned(matrix: Tensor, x: Tensor) -> Tensor:
    doubled = x.double()
    turned: Tensor = matrix @ doubled if x.dim() == 3 else doubled @ matrix.T
    return turned.to(x.dtype)


def _relative(difference: Tensor, value: Tensor) -> float:
    return float(difference.norm() / value.norm())


def counts(product: Product) -> dict[str, Any]:
    """Return the two measures of arXiv:2506.13523."""
    allowed, found = all_paths(product.l_max), interactions(product)
    return {
        "paths": len(found),
        "paths_allowed": len(allowed),
        "expressivity": expressivity(product),
        "missing": tuple("{}x{}->{}".format(*path) for path in allowed if path not in found),
    }
