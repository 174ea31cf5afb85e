"""One-line refusals of settings outside what is allowed."""

import math
from collections.abc import Collection
from numbers import Real

import numpy as np

from tdncalc.errors import OptionError


def positive(name: str, value: float, example: str) -> None:
    """Refuse what is no number, or not finite and above zero."""
    _number(name, value)
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{name}={value:g}: must be above 0, for instance {example}")


def finite(name: str, value: float) -> None:
    """Refuse what is no number, NaN and infinities."""
    _number(name, value)
    if not math.isfinite(value):
        raise OptionError(f"{name}={value:g}: must be a finite number")


def whole(name: str, value: int | np.integer, minimum: int) -> None:
    """Refuse what is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise OptionError(f"{name}={value!r}: must be a whole number of at least {minimum}")


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a name that is not in `allowed`."""
    if value not in allowed:
        raise OptionError(f"{name}={value!r}: must be one of {', '.join(allowed)}")


def _number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name}={value!r}: must be a number")
