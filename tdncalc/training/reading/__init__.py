"""Readers of labeled structures, one module a format."""

from tdncalc.training.reading.choice import paths_of, read

__all__ = ["paths_of", "read"]
