"""Dataclasses made from what a YAML or JSON file holds, with one line for whatever is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

import ase.data

from tdncalc.errors import ConfigError

__all__ = ["above_zero", "build", "chemical_symbols", "mapping"]

T = TypeVar("T")

_KINDS = {int: "an integer", bool: "true or false", float: "a number", str: "a text"}


def mapping(value: object, name: str) -> dict[str, Any]:
    """Return a copy of a mapping with texts as keys; a ConfigError for anything else."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping of settings, got {type(value).__name__}")
    if others := [key for key in value if not isinstance(key, str)]:
        raise ConfigError(f"{name}: setting {others[0]!r} has no text as its name")
    return dict(value)


def build(cls: type[T], settings: Mapping[str, Any], name: str) -> T:
    """Make a dataclass, with one line for a key it does not know, one it lacks, or a wrong type.

    A field ``elements`` are chemical symbols.
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(f"{name}: unknown setting {unknown[0]!r}; allowed: {', '.join(known)}")
    for key, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and key not in settings:
            raise ConfigError(f"{name}: setting {key!r} is missing")
    return cls(
        **{key: _typed(value, known[key].type, name, key) for key, value in settings.items()}
    )


def above_zero(settings: object, names: Sequence[str], prefix: str) -> None:
    """Raise a ConfigError unless these attributes are finite and above 0."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ConfigError(f"{prefix}: {name} is {value}, but must be above 0")


def chemical_symbols(value: object, name: str) -> tuple[str, ...]:
    """Return chemical symbols, each once; a ConfigError for anything else."""
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{name} is {value!r}, but must be a list of symbols, such as [H, C]")
    for symbol in value:
        if not ase.data.atomic_numbers.get(symbol):
            raise ConfigError(f"{name} has {symbol!r}, which is no element")
        if value.count(symbol) > 1:
            raise ConfigError(f"{name} has {symbol!r} twice")
    return tuple(value)


def _typed(value: object, kind: object, section: str, key: str) -> object:
    """Bring a plain value to the annotated type of a field; a ConfigError if it is another."""
    name = f"{section}: {key}"
    if key == "elements":
        return chemical_symbols(value, name)
    if isinstance(kind, type) and kind in _KINDS:
        return _plain(value, kind, name)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal and value not in inner:
        raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(inner)}")
    if origin is UnionType and value is not None:  # of a type and None
        return _typed(value, next(one for one in inner if one is not NoneType), section, key)
    if origin is tuple:
        return _listed(value, inner, name)
    return value


def _listed(value: object, inner: tuple[Any, ...], name: str) -> tuple[object, ...]:
    endless = inner[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (endless or len(value) == len(inner)):
        size = "" if endless else f" of {len(inner)}"
        raise ConfigError(f"{name} is {value!r}, but must be a list{size}, such as [a, b]")
    return tuple(_plain(one, inner[0], f"{name}: an entry") for one in value)


def _plain(value: object, kind: type, name: str) -> object:
    accepted = (int, float, str) if kind is float else kind
    if isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
        try:
            return kind(value)
        except ValueError:
            pass
    raise ConfigError(f"{name} is {value!r}, but must be {_KINDS[kind]}")
