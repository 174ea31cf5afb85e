"""Give a model what it knows of its training set: its bounds, and the novelty."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from tdncalc.checkpoint import (
    add_novelty,
    find_device,
    load_model,
    load_network,
    model_folder,
    read_card,
    save_model,
)
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.bounds import set_bounds
from tdncalc.training.frames import Floats, Frames
from tdncalc.training.novelty import fit_novelty

__all__ = ["calibrate", "judge"]

_CHUNK = 64


def calibrate(
    model: str | Path,
    frames: Frames,
    held_out: Frames | None,
    *,
    device: str = "auto",
    observer: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a model's bounds, fit its novelty, and write both.

    Of the novelty the card also tells what the held-out structures say of it.

    Parameters
    ----------
    model
        Name or folder; its card gets the entry ``novelty``.
    frames, held_out
        The structures that the model was trained on, and others.
    device
        Where to evaluate.
    observer
        Called with the structures done and in all.

    Returns
    -------
    dict
        What is written into the card, see :func:`fit_novelty` and :func:`judge`.
    """
    place = find_device(device)
    network = load_network(model)
    if isinstance(network, TDN):
        set_bounds(network, frames, device=place)
        save_model(model_folder(model), network, read_card(model))
    # without the novelty that was there: it may be of earlier weights
    potential = Potential(network, read_card(model), device=place, dtype=torch.float32)
    potential.settle(wait=True)
    novelty, facts = fit_novelty(potential, frames, observer=observer)
    add_novelty(model, novelty, facts)
    if held_out is not None:
        facts["held_out"] = judge(load_model(model, device=device), held_out)
        add_novelty(model, novelty, facts)
    return facts


def judge(potential: Potential, frames: Frames) -> dict[str, Any]:
    """Tell how well the novelty of a model ranks its errors on labeled structures.

    Returns
    -------
    dict
        ``structures``; ``above_1``, the fraction of them with a novelty above 1; and Spearman's
        rank correlation between novelty and error: ``spearman`` of the structures with their mean
        absolute force error, ``spearman_atoms`` of the atoms with the length of theirs; None where
        all are alike.
    """
    novelties, errors, lengths = [], [], []
    for start in range(0, len(frames), _CHUNK):
        chosen = range(start, min(start + _CHUNK, len(frames)))
        wanted = ("forces", "novelty")
        results = potential.evaluate([frames.atoms(i) for i in chosen], properties=wanted)
        for index, result in zip(chosen, results, strict=True):
            part = slice(frames.starts[index], frames.starts[index + 1])
            error = np.asarray(result["forces"]) - frames.forces[part]
            novelties.append(np.asarray(result["novelties"]))
            errors.append(np.abs(error).mean())
            lengths.append(np.linalg.norm(error, axis=1))
    largest = np.array([part.max() for part in novelties])
    return {
        "structures": len(frames),
        "above_1": float((largest > 1).mean()),
        "spearman": _ranks(largest, np.array(errors)),
        "spearman_atoms": _ranks(np.hstack(novelties), np.hstack(lengths)),
    }


def _ranks(novelties: Floats, errors: Floats) -> float | None:
    if np.ptp(novelties) == 0 or np.ptp(errors) == 0:  # of one alone, there are no ranks
        return None
    return float(spearmanr(novelties, errors).statistic)
