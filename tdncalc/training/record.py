"""What a run says of itself: which run it is, and the card of its model."""

import json
import platform
from dataclasses import asdict
from typing import Any

import torch

from tdncalc.architectures import Network
from tdncalc.training.config import TrainConfig
from tdncalc.training.finetuning import COSTS
from tdncalc.training.frames import Frames
from tdncalc.training.processes import Processes
from tdncalc.training.state import RunState

__all__ = ["counted_structures", "kept_settings", "model_card"]

# What a resumed run may change of its optimizer.
_FREE = {"steps", "checkpoint_seconds", "validate_every", "compiled", "threads"}


def kept_settings(config: TrainConfig, network: Network, processes: Processes) -> dict[str, object]:
    """Return the settings that a resumed run may not change, as JSON has them."""
    data: dict[str, object] = {
        "train": config.data.train,
        "replay": config.data.replay,
        "from": config.start,
    }
    if config.data.replay:
        data["replay_fraction"] = config.data.replay_fraction
    options = {k: v for k, v in asdict(config.optimizer).items() if k not in _FREE}
    kept = {
        "model": network.config.to_dict(),
        "data": data,
        "optimizer": options,
        "processes": processes.size,
    }
    plain: dict[str, object] = json.loads(json.dumps(kept))
    return plain


def counted_structures(frames: Frames) -> dict[str, int]:
    """Return, for the card, how many structures there are; and with those that come repeatedly."""
    n_distinct = frames.n_distinct()
    repeats = {} if n_distinct == len(frames) else {"structures_with_repeats": len(frames)}
    return {"structures": n_distinct, **repeats}


def model_card(
    config: TrainConfig, state: RunState, processes: Processes, structures: dict[str, int]
) -> dict[str, Any]:
    """Return the card of the model that the last validation was of.

    What the configuration says of it, that validation, what the training took, the `structures` it
    learned from by :func:`counted_structures`, and the model that it went on from, with which the
    ``total`` of the seconds and steps is counted.
    """
    row, threads = state.rows[-1], torch.get_num_threads()
    training: dict[str, Any] = {
        "seconds": row["seconds"],
        "steps": state.step,
        **structures,
        "machine": f"{platform.machine()}, {threads} thread, {processes.device.type}",
        "processes": processes.size,
        "torch": torch.__version__,
    }
    start = {}
    if state.start:
        start["from"] = state.start
        training["total"] = {name: training[name] + state.spent[name] for name in COSTS}
    return {"name": config.name, **config.card, "validation": row, "training": training, **start}
