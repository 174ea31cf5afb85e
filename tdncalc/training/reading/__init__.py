"""Readers of labeled structures, one module a format."""

from tdncalc.training.reading.choice import read

__all__ = ["read"]
