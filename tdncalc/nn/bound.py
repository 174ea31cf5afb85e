"""Bounds of features and energies: what is denser than all that was seen is no hole.

Products of features grow as a power of the density, from layer to layer: beyond what a network has
seen, that is no chemistry.
"""

import torch
from torch import Tensor

from tdncalc.nn.radial import risen

__all__ = ["FLOOR_DEPTH", "bounded_below", "bounded_norm"]

_TINY = 1e-30  # what is zero has a norm with a derivative

FLOOR_DEPTH = 2.0  # eV; over so much below the lowest energy the slope goes from 1 to 0


def bounded_below(energies: Tensor, lowest: Tensor) -> Tensor:
    r"""Return energies as they are above the lowest, and never less than 1 eV below it.

    .. math:: E' = E_0 - d\,\big(\tfrac12 - s^4 (\tfrac52 - 3 s + s^2)\big)
              \quad\text{where}\ E < E_0,\quad
              s = \max\Big(0, 1 - \frac{E_0 - E}{d}\Big),\quad d = 2\,\text{eV}

    The slope goes from 1 to 0 between :math:`E_0` and :math:`E_0 - d` with two continuous
    derivatives, and stays there. All (N,) in eV; a lowest energy may be −∞, which changes nothing.
    """
    s = 1 - ((lowest - energies) / FLOOR_DEPTH).clamp(0, 1)
    return torch.where(energies < lowest, lowest - FLOOR_DEPTH * (0.5 - risen(s)), energies)


def bounded_norm(features: Tensor, largest: Tensor) -> Tensor:
    r"""Return features as they are up to the largest norm, and of at most 1.5 times that norm.

    .. math:: A' = \frac{h(q)}{q} A,\quad q = \max(1, |A| / A_0),\quad
              h = \tfrac32 - s^4 (\tfrac52 - 3 s + s^2),\quad s = \max(0, 2 - q)

    with two continuous derivatives. The norm is over all components and channels, and so invariant.
    Features (N, D, C), largest norms (N,), of which some may be ∞.
    """
    norms = (features.square().sum((1, 2)) + _TINY).sqrt()
    q = (norms / largest).clamp_min(1)
    s = (2 - q).clamp_min(0)
    return features * ((1.5 - risen(s)) / q)[:, None, None]
