"""Everything a training run needs to go on: weights, their average, optimizer, position, log."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tdncalc.architectures import Network
from tdncalc.errors import CheckpointError
from tdncalc.training.levels import Levels
from tdncalc.training.optimizer import Optimizers

__all__ = ["RunState", "checkpoints", "load_state", "save_state"]

_FILE, _PREVIOUS = "state.pt", "state-previous.pt"


@dataclass
class RunState:
    """The changing part of a run.

    Attributes
    ----------
    network
        The network being trained.
    average
        Moving average of its parameters, in order.
    levels
        Shifts between the sets being trained, if there are several.
    optimizer
        Holds the moments of the gradients.
    step, seconds
        Steps done, and the time spent on them.
    best
        Lowest validation loss so far.
    rows
        The log so far, one mapping per validation.
    learned, held_out
        Digests of the labels to train on, and of those held out.
    start
        Name and checksum of the model that it goes on from, if there is one.
    spent
        What that model took, in ``seconds`` and ``steps``; in no checkpoint, its card tells.
    """

    network: Network
    average: list[Tensor]
    optimizer: Optimizers
    levels: Levels | None = None
    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")
    rows: list[dict[str, float]] = field(default_factory=list)
    learned: str = ""
    held_out: str = ""
    start: dict[str, str] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)


def save_state(folder: Path, state: RunState, settings: Mapping[str, object]) -> None:
    """Write the state beside the last one, keep the last one, and move the new one in its place."""
    content = {
        "settings": settings,
        "network": state.network.state_dict(),
        "average": state.average,
        "optimizer": state.optimizer.state_dict(),
        "levels": state.levels.state_dict() if state.levels else None,
        "data": {"learned": state.learned, "held_out": state.held_out},
        "start": state.start,
        "progress": {name: getattr(state, name) for name in ("step", "seconds", "best", "rows")},
    }
    temporary = folder / (_FILE + ".tmp")
    with temporary.open("wb") as file:  # by our own handle, so that a full disk is an OSError
        torch.save(content, file)
    if (folder / _FILE).exists():
        os.replace(folder / _FILE, folder / _PREVIOUS)
    os.replace(temporary, folder / _FILE)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest first."""
    return [folder / name for name in (_FILE, _PREVIOUS) if (folder / name).exists()]


def load_state(folder: Path, state: RunState, settings: Mapping[str, object]) -> bool:
    """Fill the state from the newest readable checkpoint; False where there is none.

    The settings are those that a resumed run may not change.

    Raises
    ------
    CheckpointError
        There are checkpoints but none is readable, or they belong to another configuration, to
        other data or to another model to go on from.
    """
    paths = checkpoints(folder)
    contents = [content for path in paths if (content := _read(path)) is not None]
    if not paths:
        return False
    if not contents:
        raise CheckpointError(
            f"{paths[0]}: damaged, and so is the one before; start in another folder"
        )
    content = contents[0]
    if changed := _changed(content, settings):
        raise CheckpointError(
            f"{folder}: its checkpoint belongs to another configuration ({changed}); go on with "
            "what it began with, or use another run folder"
        )
    data = content.get("data", {})  # older checkpoints have none
    if data.get("learned", state.learned) != state.learned:
        raise CheckpointError(
            f"{folder}: its data have changed since it was begun; start in another run folder"
        )
    if content.get("start", state.start) != state.start:  # older checkpoints have none
        raise CheckpointError(
            f"{folder}: the model that it goes on from, {state.start['model']!r}, has changed "
            "since it was begun; start in another run folder"
        )
    state.network.load_state_dict(content["network"])
    state.optimizer.load_state_dict(content["optimizer"])
    if state.levels is not None:
        state.levels.load_state_dict(content["levels"])
    for mine, saved in zip(state.average, content["average"], strict=True):
        mine.copy_(saved)
    for name, value in content["progress"].items():
        setattr(state, name, value)
    if data.get("held_out") != state.held_out:
        state.best = float("inf")  # of another validation set
    return True


def _changed(content: Mapping[str, Any], settings: Mapping[str, object]) -> str:
    """Tell which settings of a checkpoint are others, three at most; nothing if none are."""
    if "settings" not in content:  # an older one has but a digest of them
        same = content["fingerprint"] == _digest(settings)
        return "" if same else "which setting is another, this older one does not tell"
    found = list(_differences(content["settings"], settings))
    rest = [f"and {len(found) - 3} more"] if len(found) > 3 else []
    return ", ".join(found[:3] + rest)


def _differences(old: object, new: object, name: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{name}: {key}" if name else key)
    elif old != new:
        simple = not any(isinstance(value, list | Mapping) for value in (old, new))
        yield f"{name} was {old!r} and is {new!r}" if simple else f"{name} is another"


def _digest(settings: Mapping[str, Any]) -> str:
    kept = [settings["model"], list(settings["data"].values())]
    kept += [settings["optimizer"], settings["processes"]]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # noqa: BLE001 - whatever a cut or overwritten file makes of the reader
        return None
    return content
