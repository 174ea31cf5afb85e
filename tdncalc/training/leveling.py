"""Give the averaged weights of a finished run the level of the energies they were trained on."""

from collections.abc import Sequence
from pathlib import Path

import ase.data
import numpy as np
import torch

from tdncalc.checkpoint import load_network, read_card, save_model
from tdncalc.training.finetuning import unexplained
from tdncalc.training.frames import Floats, Frames
from tdncalc.training.levels import alone
from tdncalc.training.preparation import with_every_element

__all__ = ["level"]

_LEVEL = 1e-9  # eV/atom


def level(model: Path, frames: Frames, held_out: Frames, names: Sequence[str]) -> None:
    """Shift a model's energies by a constant per atom, so that their mean error is zero.

    Weights jitter about a minimum while they learn, and energies are convex in them there: at the
    mean of the weights they lie below their mean, by Jensen's inequality, in all structures alike.
    Levels of further sets move likewise. Nothing moves if atoms that are alone set the references;
    of a model that went on from another they do not, and are left out.

    Parameters
    ----------
    model
        Its folder; the card's held-out energy error is measured anew, and ``leveled_meV_per_atom``
        tells the shift of each set.
    frames, held_out
        What the model was trained on, and what it was validated on, (S,) structures each.
    names
        Of the sets with energies of different theory, the model's first.
    """
    network, card = load_network(model), read_card(model)
    elements = network.config.elements
    numbers = [ase.data.atomic_numbers[symbol] for symbol in elements]
    shifts = np.zeros((len(names), len(elements)))  # of the sets against the model
    for row, name in enumerate(names[1:], 1):
        shifts[row] = [card["levels"][name][symbol] for symbol in elements]
    sample = with_every_element(frames, numbers, len(names))
    single = alone(sample, network.config.cutoff)
    if single.all() or ("from" not in card and single.any()):
        return
    sample = sample.take(np.flatnonzero(~single))
    left = _per_atom(unexplained(network, sample), numbers, shifts)
    parts = [left[sample.level == row] for row in range(len(names))]
    change = np.array([part.mean() if len(part) else 0.0 for part in parts])
    if np.abs(change).max() < _LEVEL:  # a run that had ended keeps its model to the last bit
        return
    places = network.element_indices(torch.tensor(numbers))
    references = network.reference_energies.double()
    references[places] += change[0]
    network.reference_energies = references
    shifts[1:] += (change[1:] - change[0])[:, None]
    for row, name in enumerate(names[1:], 1):
        card["levels"][name] = dict(zip(elements, shifts[row].tolist(), strict=True))
    error = np.abs(_per_atom(unexplained(network, held_out), numbers, shifts)).mean()
    card["validation"]["valid_energy_meV_per_atom"] = 1000 * float(error)
    before = card.get("leveled_meV_per_atom", {})  # of a run that had ended and is resumed
    card["leveled_meV_per_atom"] = {
        name: before.get(name, 0.0) + 1000 * shift
        for name, shift in zip(names, change.tolist(), strict=True)
    }
    save_model(model, network, card)


def _per_atom(left: Frames, numbers: Sequence[int], shifts: Floats) -> Floats:
    """Return what a model and the levels of the sets leave of the energies, (S,) in eV/atom."""
    of_level = (left.counts(numbers) * shifts[left.level]).sum(axis=1)
    return np.asarray((left.energy - of_level) / left.n_atoms())
