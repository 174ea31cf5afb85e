"""A floor under the energies of atoms, so that no environment unlike any seen is a hole."""

import torch
from torch import Tensor

__all__ = ["FLOOR_DEPTH", "bounded_below"]

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
    risen = s**4 * (2.5 + s * (s - 3))  # ∫ 10 s³ - 15 s⁴ + 6 s⁵
    return torch.where(energies < lowest, lowest - FLOOR_DEPTH * (0.5 - risen), energies)
