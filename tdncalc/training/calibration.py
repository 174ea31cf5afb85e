"""Give a model what it knows of its training set: its bounds, and the novelty."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import ase.data
import numpy as np
import torch
from scipy.stats import spearmanr

from tdncalc.architectures import Network
from tdncalc.checkpoint import (
    add_novelty,
    find_device,
    load_network,
    model_folder,
    read_card,
    save_model,
)
from tdncalc.novelty import Novelty
from tdncalc.potential import Potential
from tdncalc.structures import check_elements
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
    """Measure a model's bounds, fit its novelty, and write both when all of it is known.

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

    Raises
    ------
    StructureError
        A structure has an element that the model does not know.
    OptionError
        The model is no default network.
    """
    place = find_device(device)
    network, card = load_network(model), read_card(model)
    for part, name in ((frames, "the training set"), (held_out, "the held-out structures")):
        if part is not None:
            _require_elements(part, network, card["name"], name)
    if isinstance(network, TDN):
        set_bounds(network, frames, device=place)
    # without the novelty that was there: it may be of earlier weights
    novelty, facts = fit_novelty(_settled(network, card, place), frames, observer=observer)
    if held_out is not None:
        facts["held_out"] = judge(_settled(network, card, place, novelty), held_out)
    save_model(model_folder(model), network, card)
    add_novelty(model, novelty, facts)
    return facts


def _require_elements(frames: Frames, network: Network, model: str, name: str) -> None:
    """Make sure that a model knows every element of labeled structures."""
    elements = network.config.elements
    known = [ase.data.atomic_numbers[symbol] for symbol in elements]
    for atom in np.flatnonzero(~np.isin(frames.numbers, known))[:1]:
        index = int(np.searchsorted(frames.starts, atom, side="right")) - 1
        label = f"structure {index} of {name}"
        check_elements(frames.atoms(index).numbers, elements, model, label)


def _settled(
    network: Network, card: dict[str, Any], device: torch.device, novelty: Novelty | None = None
) -> Potential:
    """Return a potential of a copy of the network, which it would freeze and convert."""
    potential = Potential(
        deepcopy(network), card, device=device, dtype=torch.float32, novelty=novelty
    )
    potential.settle(wait=True)
    return potential


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
