"""What to try where a model's energies are far from the labels, and forces may be right."""

from collections.abc import Mapping

import ase.data
import numpy as np

from tdncalc.training.frames import Floats, Frames

__all__ = ["level_advice", "references_fit", "shift"]

_FAR = 50.0  # meV/atom: further off than most models ever are at their own level
_NEARER = 0.2  # of the error: what another level must leave of it, at most


def level_advice(
    frames: Frames, errors: Floats, levels: Mapping[str, Mapping[str, float]]
) -> str | None:
    """Say of which other level of the energy labels seem to be; None if they seem to be right.

    Parameters
    ----------
    frames
        The structures, (S,).
    errors
        Computed minus true energies in eV, (S,).
    levels
        What each further set lies above the level of these errors, per element in eV; the model's
        own, where that is another, under ``""``.
    """
    own = _per_atom(frames, errors)
    if own < _FAR:
        return None
    left = {name: _per_atom(frames, errors + shift(frames, row)) for name, row in levels.items()}
    if left and left[name := min(left, key=left.__getitem__)] < _NEARER * own:
        whose = f"the level of the training set {name!r}" if name else "the model's own level"
        remedy = f"give --level {name}" if name else "leave --level out"
        return (
            f"energies are off by {own:.0f} meV/atom, and by {left[name]:.1f} at {whose}: if that "
            f"is what these data have, {remedy}"
        )
    numbers = np.unique(frames.numbers).tolist()
    if len(frames) < 2 * len(numbers):
        return None  # a fit would take too much of the errors with it
    after = _per_atom(frames, errors - frames.counts(numbers) @ references_fit(frames, errors))
    if after > _NEARER * own:
        return None
    return (
        f"energies are off by {own:.0f} meV/atom, and by {after:.1f} after a fit of an energy per "
        "element: if these data have another level of theory, give --fit-references"
    )


def _per_atom(frames: Frames, errors: Floats) -> float:
    """Return the mean absolute error in meV/atom of errors in eV, (S,)."""
    return float(1000 * np.abs(errors / frames.n_atoms()).mean())


def references_fit(frames: Frames, errors: Floats) -> Floats:
    """Fit energies of the elements of `frames`, ascending, to errors per atom; eV."""
    counts, sizes = frames.counts(np.unique(frames.numbers).tolist()), frames.n_atoms()
    return np.asarray(np.linalg.lstsq(counts / sizes[:, None], errors / sizes, rcond=None)[0])


def shift(frames: Frames, row: Mapping[str, float]) -> Floats:
    """Return the energy of each structure (S,) in eV that a level of so much per element has."""
    numbers = [ase.data.atomic_numbers[symbol] for symbol in row]
    return np.asarray(frames.counts(numbers) @ list(row.values()))
