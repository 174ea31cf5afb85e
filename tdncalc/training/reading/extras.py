"""Packages that only some formats need."""

from importlib import import_module
from typing import Any

from tdncalc.errors import DataError

__all__ = ["needed"]


def needed(name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a package of the extra ``data``; a DataError says how to get it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise DataError(
            f"this format needs the package {name}; install it with: pip install 'tdncalc[data]'"
        ) from error
