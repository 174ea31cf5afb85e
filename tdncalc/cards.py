"""What is known about models: their folders and cards, read without PyTorch."""

import json
import os
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

from tdncalc.errors import DamagedModelError, ModelNotFoundError, OptionError, OutputError

__all__ = [
    "CARD",
    "DEFAULT_MODEL",
    "FORMAT",
    "IN_RECORDS",
    "bundled_models",
    "eclipsed",
    "model_folder",
    "read_card",
    "require_own",
]

FORMAT = 1
CARD = "card.json"
DEFAULT_MODEL = "organic"

# Entries that are read, and what they are; the first five are in every card.
_TYPES: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "elements": (list, "a list of symbols"),
    "config": (dict, "an object"),
    "sha256": (str, "a text"),
    "format": (int, "a whole number"),
    "novelty": (dict, "an object"),
    "errors": (dict, "an object"),
    "levels": (dict, "an object"),
    "validation": (dict, "an object"),
    "selftest": (dict, "an object"),
}
_REQUIRED = list(_TYPES)[:5]
# How records of results call what identifies their model
IN_RECORDS = {"name": "model", "sha256": "model_sha256", "dispersion": "model_dispersion"}
# What is read of the outcome of a physics check.
_OUTCOME = {"check": str, "value": int | float, "unit": str, "passed": bool}


def bundled_models() -> list[str]:
    """Return the names of the models inside the package, the default one first."""
    names = (card.parent.name for card in _bundled_root().glob(f"*/{CARD}"))
    return sorted(names, key=lambda name: (name != DEFAULT_MODEL, name))


def model_folder(model: str | Path) -> Path:
    """Return the folder of a bundled model or a path.

    Warns
    -----
    UserWarning
        A folder here holds a model and has the name of the bundled one that is taken.

    Raises
    ------
    ModelNotFoundError
        There is none.
    OptionError
        It is neither a text nor a path.
    """
    if isinstance(model, str) and model in bundled_models():
        bundled, here = _bundled_root() / model, Path(model)
        if (here / CARD).is_file() and not here.samefile(bundled):
            warnings.warn(str(eclipsed(model)), stacklevel=2)
        return bundled
    if not isinstance(model, str | os.PathLike):
        raise OptionError(
            f"model {model!r} is not allowed; give the name of a bundled model "
            f"({', '.join(bundled_models())}) or the path of a model folder"
        )
    if (folder := Path(model)).is_dir():
        return folder
    names = ", ".join(bundled_models())
    raise ModelNotFoundError(
        f"no model {str(model)!r}: neither bundled ({names}) nor a folder; see 'tdn models list'"
    )


def eclipsed(name: str) -> str | None:
    """Tell what to call a folder here that has the name of a bundled model; None of another."""
    if name not in bundled_models():
        return None
    return f"{name!r} means the bundled model; for the folder {name} here say './{name}'"


def require_own(model: str, change: str) -> None:
    """Refuse, before any work, to change a bundled model, or one whose folder cannot be written.

    Raises
    ------
    OptionError
        It is bundled; `change` is what would be done to it.
    OutputError
        Its folder cannot be written.
    """
    if model not in bundled_models():
        if Path(model).is_dir() and not os.access(model, os.W_OK | os.X_OK):
            raise OutputError(
                f"{change} would write into {model}, which cannot be written; give the folder of a "
                "copy"
            )
        return
    mine = f"'./{model}' for the folder here" if Path(model).is_dir() else "the folder of a copy"
    raise OptionError(
        f"{change} would write into the model {model}, which is bundled; give the folder of a "
        f"model of yours, or {mine}"
    )


def read_card(model: str | Path) -> dict[str, Any]:
    """Read what is known about a model: elements, theory, cutoff, errors, licence, checksum."""
    path = model_folder(model) / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedModelError(f"{path}: no readable model card ({error})") from error
    if not isinstance(card, dict):
        raise DamagedModelError(f"{path}: no model card (a JSON object is expected)")
    missing = set(_REQUIRED) - set(card)
    if missing:
        raise DamagedModelError(f"{path}: the card lacks {', '.join(sorted(missing))}")
    if isinstance(card["format"], int) and card["format"] != FORMAT:
        raise DamagedModelError(
            f"{path}: format {card['format']}, but this version reads {FORMAT}; update tdncalc"
        )
    _check_types(card, path)
    return card


def _check_types(card: dict[str, Any], path: Path) -> None:
    for name, (kind, wanted) in _TYPES.items():
        if name in card and not isinstance(card[name], kind):
            raise _wrong(path, name, wanted)
    if not all(isinstance(symbol, str) for symbol in card["elements"]):
        raise _wrong(path, "elements", _TYPES["elements"][1])
    checks = card.get("selftest", {}).get("checks", [])
    if not isinstance(checks, list) or not all(map(_is_outcome, checks)):
        outcome = f"a list of checks, each with {', '.join(_OUTCOME)}"
        raise _wrong(path, "selftest", f"an object with {outcome}")


def _is_outcome(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(k), t) for k, t in _OUTCOME.items())


def _wrong(path: Path, name: str, wanted: str) -> DamagedModelError:
    return DamagedModelError(
        f"{path}: '{name}' of the card is not {wanted}; install the model again, or correct it"
    )


def _bundled_root() -> Path:
    """Return the folder of bundled models: package data, or ``models`` of a source checkout."""
    inside = Path(str(files("tdncalc"))) / "models"
    return inside if inside.is_dir() else inside.parent.parent / "models"
