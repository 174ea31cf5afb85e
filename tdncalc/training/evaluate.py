"""Judge a model: its errors on labeled structures, in all, by kind and by element."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.data
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from tdncalc.errors import OptionError
from tdncalc.potential import Potential
from tdncalc.training.data import Floats, Frames, load_frames

__all__ = ["at_level_of_model", "evaluate", "evaluate_frames"]

_CHUNK = 64


def evaluate(
    potential: Potential,
    sources: Sequence[str | Path],
    *,
    root: Path = Path(),
    limit: int | None = None,
    level: str | None = None,
    observer: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on labeled structures from files.

    Parameters
    ----------
    potential
        The model.
    sources
        Files as :func:`tdncalc.training.data.load_frames` takes them.
    root
        Folder of relative paths.
    limit
        Use at most so many structures, evenly spaced.
    level
        Name of the set whose reference level the energies have, if it is not the model's.
    observer
        Called with the structures done and in all.

    Returns
    -------
    dict
        See :func:`evaluate_frames`.

    Raises
    ------
    DataError
        A file cannot be read or lacks energies or forces.
    StructureError
        A structure has an element that the model does not know.
    OptionError
        The limit is below 1, or the model has no such level.
    """
    frames = load_frames([str(source) for source in sources], root)
    if limit is not None:
        if limit < 1:
            raise OptionError(f"limit {limit} is not allowed; give 1 or more")
        frames = frames.evenly(limit)
    if level is not None:
        frames = at_level_of_model(potential, frames, level)
    return evaluate_frames(potential, frames, observer=observer)


def evaluate_frames(
    potential: Potential, frames: Frames, *, observer: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Evaluate a model on labeled structures.

    Returns
    -------
    dict
        ``structures`` and ``atoms``; mean absolute and root mean square errors of the energy
        (meV/atom), of the force components (meV/Å) and, where a stress is known, of its components
        (meV/Å³); the mean cosine between true and computed force of an atom; the same ``by_kind``
        of structure; and the mean absolute force error ``by_element``.
    """
    errors = _Errors(*_predict(potential, frames, observer))
    owners = np.repeat(np.arange(len(frames)), frames.n_atoms())
    by_kind = {}
    for kind in np.unique(frames.kind):
        chosen = frames.kind == kind
        by_kind[str(kind)] = errors.summary(frames, chosen, chosen[owners])
    report = errors.summary(frames, np.ones(len(frames), bool), np.ones(len(owners), bool))
    by_element = {
        ase.data.chemical_symbols[number]: {
            "atoms": int((frames.numbers == number).sum()),
            "forces_MAE_meV_per_A": 1000
            * float(np.abs(errors.forces[frames.numbers == number]).mean()),
        }
        for number in np.unique(frames.numbers)
    }
    return {**report, "by_kind": by_kind, "by_element": by_element}


def at_level_of_model(potential: Potential, frames: Frames, level: str) -> Frames:
    """Take off what the energies of a set lie above the model's, as its card says."""
    levels = potential.card.get("levels", {})
    if level not in levels:
        allowed = ", ".join(levels) or "none but its own"
        raise OptionError(f"model {potential.name!r} has no level {level!r}; it has: {allowed}")
    counts = frames.counts([ase.data.atomic_numbers[symbol] for symbol in levels[level]])
    return replace(frames, energy=frames.energy - counts @ list(levels[level].values()))


class _Errors:
    """Computed minus true: energy (S,), forces (A, 3), stress (S, 3, 3), NaN where unknown."""

    def __init__(self, energy: Floats, forces: Floats, stress: Floats) -> None:
        self.energy, self.forces, self.stress = energy, forces, stress

    def summary(self, frames: Frames, structures: Floats, atoms: Floats) -> dict[str, Any]:
        """Summarize the structures and atoms that two masks choose."""
        energy = 1000 * self.energy[structures] / frames.n_atoms()[structures]
        forces = 1000 * self.forces[atoms]
        stress = 1000 * self.stress[structures]
        stress = stress[np.isfinite(stress)]
        summary: dict[str, Any] = {
            "structures": int(structures.sum()),
            "atoms": int(atoms.sum()),
            "energy_MAE_meV_per_atom": float(np.abs(energy).mean()),
            "energy_RMSE_meV_per_atom": float(np.sqrt((energy**2).mean())),
            "forces_MAE_meV_per_A": float(np.abs(forces).mean()),
            "forces_RMSE_meV_per_A": float(np.sqrt((forces**2).mean())),
            "forces_cosine": _cosine(frames.forces[atoms], frames.forces[atoms] + forces / 1000),
        }
        if len(stress):
            summary["stress_MAE_meV_per_A3"] = float(np.abs(stress).mean())
            summary["stress_RMSE_meV_per_A3"] = float(np.sqrt((stress**2).mean()))
        return summary


def _cosine(true: Floats, computed: Floats) -> float:
    """Return the mean cosine between two sets of vectors, those of no length left out."""
    lengths = np.linalg.norm(true, axis=1) * np.linalg.norm(computed, axis=1)
    some = lengths > 0
    return float(((true * computed).sum(1)[some] / lengths[some]).mean()) if some.any() else 1.0


def _predict(
    potential: Potential, frames: Frames, observer: Callable[[int, int], None] | None
) -> tuple[Floats, Floats, Floats]:
    energy = np.zeros(len(frames))
    forces, stress = np.zeros_like(frames.forces), np.full((len(frames), 3, 3), np.nan)
    known = np.asarray(np.isfinite(frames.stress).all(axis=(1, 2)))
    wanted = ("energy", "forces", "stress") if known.any() else ("energy", "forces")
    for start in range(0, len(frames), _CHUNK):
        chosen = range(start, min(start + _CHUNK, len(frames)))
        for index, result in zip(
            chosen,
            potential.evaluate([frames.atoms(i) for i in chosen], properties=wanted),
            strict=True,
        ):
            energy[index] = result["energy"]
            forces[frames.starts[index] : frames.starts[index + 1]] = result["forces"]
            if known[index]:
                stress[index] = voigt_6_to_full_3x3_stress(result["stress"])
        if observer:
            observer(chosen.stop, len(frames))
    return energy - frames.energy, forces - frames.forces, stress - frames.stress
