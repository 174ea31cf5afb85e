"""What is done about steps that went uphill."""

from __future__ import annotations

import numpy as np

# A rise that rounding in a float32 model cannot explain.
RISE = 1e-3  # eV
# Shortened this often, a step is a thousandth of what it was: then the energy does not follow the
# forces (direct forces, a jump of the potential), and the place is taken as it is.
MOST_TRIALS = 5


def shorter(slope: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Return what part of steps to take that went uphill.

    To where a parabola through both energies and the slope has its minimum (J. Nocedal and S. J.
    Wright, *Numerical Optimization*, 2nd ed., Eq. 3.58).

    Parameters
    ----------
    slope, bend
        Of the energy along each step, as slope t + bend t² at its part t, eV.
    """
    curved = np.where(bend > 0, bend, 1.0)
    return np.where(bend > 0, np.clip(-slope / (2 * curved), 0.1, 0.5), 0.25)
