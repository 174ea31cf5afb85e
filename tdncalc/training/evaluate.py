"""Judge a model: its errors on labeled structures, in all, by kind, size and element."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.data
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tdncalc.errors import DataError, OptionError
from tdncalc.potential import Potential
from tdncalc.structures.checks import check_elements
from tdncalc.training.advice import level_advice, references_fit, shift
from tdncalc.training.data import load_frames
from tdncalc.training.error_plot import draw_errors
from tdncalc.training.frames import Floats, Frames
from tdncalc.wording import counted

__all__ = ["at_level_of_model", "evaluate", "evaluate_frames"]

logger = logging.getLogger(__name__)

_CHUNK = 64
_SIZES = (11, 21, 51, 101)
_SIZE_NAMES = ("1-10", "11-20", "21-50", "51-100", "over 100")
_OWN = 0.02  # meV/atom and meV/Å: no reference method agrees with a network so closely


def evaluate(
    potential: Potential,
    sources: Sequence[str | Path],
    *,
    root: Path = Path(),
    limit: int | None = None,
    level: str | None = None,
    fit_references: bool = False,
    plot: Path | None = None,
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
    fit_references
        See :func:`evaluate_frames`.
    plot
        PNG to draw parity and distribution of the errors into.
    observer
        Called with the structures done and in all.

    Returns
    -------
    dict
        See :func:`evaluate_frames`.

    Raises
    ------
    DataError
        A file cannot be read or lacks energies or forces, its labels are the model's own, or it
        holds too few structures to fit reference energies.
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
    levels = _beyond(potential.card.get("levels", {}), level)
    report = _report(potential, frames, levels, fit_references, plot, observer)
    if max(report["energy_MAE_meV_per_atom"], report["forces_MAE_meV_per_A"]) < _OWN:
        raise DataError(
            f"{sources[0]}: its energies and forces are those of model {potential.name!r} itself, "
            "to the rounding of its numbers; evaluate on reference data"
        )
    return report


def evaluate_frames(
    potential: Potential,
    frames: Frames,
    *,
    fit_references: bool = False,
    plot: Path | None = None,
    observer: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on labeled structures.

    Where their energies seem to have another level than the model's, a warning tells which.

    Parameters
    ----------
    potential
        The model.
    frames
        The structures.
    fit_references
        The energies have another level of theory than the model's: take off, before they are
        compared, an energy per atom of each element, fitted by least squares to the errors per
        atom. What is left are errors of energies of reaction and of conformation.
    plot, observer
        See :func:`evaluate`.

    Returns
    -------
    dict
        ``structures`` and ``atoms``; mean absolute and root mean square errors of the energy
        (meV/atom), of the force components (meV/Å) and, where a stress is known, of its components
        (meV/Å³); the mean cosine between true and computed force of an atom, where there are
        atoms that have both; the same ``by_kind`` and ``by_size`` (number of atoms) of structure;
        of the forces ``by_element``; and the ``fitted_references`` (eV) of the elements, if they
        are fitted.

    Raises
    ------
    DataError
        Reference energies are to be fitted and there are no more structures than elements.
    StructureError
        A structure has an element that the model does not know.
    """
    levels = potential.card.get("levels", {})
    return _report(potential, frames, levels, fit_references, plot, observer)


def _report(
    potential: Potential,
    frames: Frames,
    levels: Mapping[str, Mapping[str, float]],
    fit_references: bool,
    plot: Path | None,
    observer: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Evaluate, and tell where the energies seem to have one of other levels."""
    _check_known(potential, frames)
    errors = _Errors(*_predict(potential, frames, observer))
    fitted: dict[str, Any] = {}
    if fit_references:
        fitted["fitted_references"], errors.energy = _without_references(frames, errors.energy)
    elif advice := level_advice(frames, errors.energy, levels):
        logger.warning("%s", advice)
    if plot is not None:
        draw_errors(plot, frames, errors.energy, errors.forces)
    owners = np.repeat(np.arange(len(frames)), frames.n_atoms())

    def of(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return errors.summary(frames, chosen, chosen[owners])

    sizes = np.digitize(frames.n_atoms(), _SIZES)  # 0 for the smallest
    return {
        **of(np.ones(len(frames), dtype=bool)),
        "by_kind": {str(kind): of(frames.kind == kind) for kind in np.unique(frames.kind)},
        "by_size": {_SIZE_NAMES[size]: of(sizes == size) for size in np.unique(sizes)},
        "by_element": {
            ase.data.chemical_symbols[number]: errors.of_atoms(frames.numbers == number)
            for number in np.unique(frames.numbers)
        },
        **fitted,
    }


def at_level_of_model(potential: Potential, frames: Frames, level: str) -> Frames:
    """Take off what the energies of a set lie above the model's, as its card says."""
    levels = potential.card.get("levels", {})
    if level not in levels:
        allowed = ", ".join(levels) or "none but its own"
        raise OptionError(
            f"model {potential.name!r} has no level {level!r}; it has: {allowed}; its own is meant "
            "where none is named"
        )
    return replace(frames, energy=frames.energy - shift(frames, levels[level]))


def _beyond(
    levels: Mapping[str, Mapping[str, float]], taken: str | None
) -> Mapping[str, Mapping[str, float]]:
    """Return what the levels lie above one of them, per element in eV; the model's is ``""``."""
    if taken is None:
        return levels
    base = levels[taken]
    own = {"": dict.fromkeys(base, 0.0)}
    return {
        name: {symbol: row[symbol] - base[symbol] for symbol in base}
        for name, row in (own | dict(levels)).items()
    }


def _check_known(potential: Potential, frames: Frames) -> None:
    """Refuse a structure with an element that the model does not know, before all are computed."""
    known = [ase.data.atomic_numbers[symbol] for symbol in potential.elements]
    unknown = np.flatnonzero(~np.isin(frames.numbers, known))
    if len(unknown):
        index = int(np.searchsorted(frames.starts, unknown[0], side="right")) - 1
        label = f"structure {index} of those to evaluate"
        check_elements(frames.atoms(index).numbers, potential.elements, potential.name, label)


def _without_references(frames: Frames, errors: Floats) -> tuple[dict[str, float], Floats]:
    """Fit energies of the elements to errors in eV, (S,); return them and what they leave."""
    numbers = np.unique(frames.numbers).tolist()
    if len(frames) <= len(numbers):
        raise DataError(
            f"too few structures ({len(frames)}) to fit reference energies of "
            f"{counted(len(numbers), 'element')}; give more of them than elements, or "
            "leave --fit-references out"
        )
    fit = references_fit(frames, errors)
    names = [ase.data.chemical_symbols[number] for number in numbers]
    return dict(zip(names, fit.tolist(), strict=True)), errors - frames.counts(numbers) @ fit


class _Errors:
    """Computed minus true: energy (S,), forces (A, 3), stress (S, 3, 3), NaN where unknown."""

    def __init__(self, energy: Floats, forces: Floats, stress: Floats) -> None:
        self.energy, self.forces, self.stress = energy, forces, stress

    def of_atoms(self, atoms: NDArray[np.bool_]) -> dict[str, Any]:
        """Summarize the forces of the atoms that a mask chooses."""
        forces = 1000 * self.forces[atoms]
        return {
            "atoms": int(atoms.sum()),
            "forces_MAE_meV_per_A": float(np.abs(forces).mean()),
            "forces_RMSE_meV_per_A": float(np.sqrt((forces**2).mean())),
        }

    def summary(
        self, frames: Frames, structures: NDArray[np.bool_], atoms: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Summarize the structures and atoms that two masks choose."""
        energy = 1000 * self.energy[structures] / frames.n_atoms()[structures]
        forces = 1000 * self.forces[atoms]
        stress = 1000 * self.stress[structures]
        stress = stress[np.isfinite(stress)]
        summary: dict[str, Any] = {
            "structures": int(structures.sum()),
            "energy_MAE_meV_per_atom": float(np.abs(energy).mean()),
            "energy_RMSE_meV_per_atom": float(np.sqrt((energy**2).mean())),
            **self.of_atoms(atoms),
        }
        cosines = _cosines(frames.forces[atoms], frames.forces[atoms] + forces / 1000)
        if len(cosines):
            summary["forces_cosine"] = float(cosines.mean())
        if len(stress):
            summary["stress_MAE_meV_per_A3"] = float(np.abs(stress).mean())
            summary["stress_RMSE_meV_per_A3"] = float(np.sqrt((stress**2).mean()))
        return summary


def _cosines(true: Floats, computed: Floats) -> Floats:
    """Return the cosines between two sets of vectors, those of no length left out."""
    lengths = np.linalg.norm(true, axis=1) * np.linalg.norm(computed, axis=1)
    some = lengths > 0
    cosines: Floats = (true * computed).sum(1)[some] / lengths[some]
    return cosines


def _predict(
    potential: Potential, frames: Frames, observer: Callable[[int, int], None] | None
) -> tuple[Floats, Floats, Floats]:
    energy = np.zeros(len(frames))
    forces, stress = np.zeros_like(frames.forces), np.full((len(frames), 3, 3), np.nan)
    known = frames.has_stress()
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
            if known[index] and "stress" in result:
                stress[index] = voigt_6_to_full_3x3_stress(result["stress"])
        if observer:
            observer(chosen.stop, len(frames))
    return energy - frames.energy, forces - frames.forces, stress - frames.stress
