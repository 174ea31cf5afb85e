"""Dataclasses made from what a YAML file holds, with one line for whatever is wrong."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from tdncalc.errors import ConfigError

__all__ = ["build", "mapping"]

T = TypeVar("T")


def mapping(value: object, name: str) -> dict[str, Any]:
    """Return a copy of a mapping; a ConfigError for anything else."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping of settings, got {type(value).__name__}")
    return dict(value)


def build(cls: type[T], settings: dict[str, Any], name: str) -> T:
    """Make a dataclass, with one line for a key it does not know, one it lacks, or a wrong type."""
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(f"{name}: unknown setting {unknown[0]!r}; allowed: {', '.join(known)}")
    for key, known_field in known.items():
        required = known_field.default is MISSING and known_field.default_factory is MISSING
        if required and key not in settings:
            raise ConfigError(f"{name}: setting {key!r} is missing")
        if key in settings and known_field.type in (int, float, bool, str):
            settings[key] = _typed(settings[key], known_field.type, f"{name}: {key}")
    return cls(**settings)


def _typed(value: object, kind: type, name: str) -> object:
    accepted = (int, float, str) if kind is float else kind
    if isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
        try:
            return kind(value)
        except ValueError:
            pass
    raise ConfigError(f"{name} is {value!r}, but must be a {kind.__name__}")
