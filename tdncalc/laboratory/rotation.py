"""Rotations of features, and the rotation that takes an edge to the axis."""

import math

import torch
from torch import Tensor

from tdncalc.laboratory.paths import block

__all__ = ["rotation_to_axis", "step", "wigner"]


def step(degree: int) -> Tensor:
    """Return the isometry from degrees l−1 and 1 to l, (2l−1, 3, 2l+1) float64."""
    return math.sqrt(2 * degree + 1) * block((degree - 1, 1, degree))


def wigner(rotation: Tensor, steps: list[Tensor]) -> list[Tensor]:
    """Return the matrices that rotate degrees 0 to L, each (…, 2l+1, 2l+1).

    Each degree follows from the one below: a polynomial of the rotation matrix, with derivatives
    everywhere, unlike the formula in Euler angles.

    Parameters
    ----------
    rotation
        Rotation matrices, (…, 3, 3).
    steps
        :func:`step` of degrees 2 to L, in the dtype of the rotation.
    """
    one = torch.ones_like(rotation[..., :1, :1])
    matrices = [one, rotation]
    for isometry in steps:
        pairs = torch.einsum("...ac,...bd,cdk->...abk", matrices[-1], rotation, isometry)
        matrices.append(torch.einsum("abj,...abk->...jk", isometry, pairs))
    return matrices


def rotation_to_axis(directions: Tensor) -> Tensor:
    """Return rotations that take unit vectors (…, 3) to ±y, e3nn's axis, (…, 3, 3).

    The nearer end of the axis is taken, where the rotation is smooth.

    Returns
    -------
    Tensor
        For a vector with y < 0 the half turn about x comes last, so all arrive at +y.
    """
    y = directions[..., 1]
    sign = torch.where(y < 0, -1.0, 1.0)
    x, y, z = (directions * sign[..., None]).unbind(-1)
    scale = 1 / (1 + y)  # Rodrigues' formula about the axis r × y
    rows = [
        torch.stack([1 - scale * x * x, -x, -scale * x * z], dim=-1),
        torch.stack([x, y, z], dim=-1),
        torch.stack([-scale * x * z, -z, 1 - scale * z * z], dim=-1),
    ]
    turned = torch.stack([torch.ones_like(sign), sign, sign], dim=-1)
    return torch.stack(rows, dim=-2) * turned[..., :, None]
