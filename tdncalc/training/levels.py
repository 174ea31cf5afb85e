"""Reference levels of the energy: sets of different theory learned from together."""

from dataclasses import dataclass

import ase.data
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tdncalc.training.frames import Floats, Frames

__all__ = ["LevelFit", "Levels", "alone", "fit_levels"]


@dataclass(frozen=True)
class LevelFit:
    """Energies per element that explain the total energies of several sets.

    Attributes
    ----------
    references
        Of the model, (n_elements,) in eV.
    shifts
        What each set's energy of an element is above the model's, (n_levels, n_elements) in eV.
    free
        Where a shift can be told from the reference: 0 elsewhere, and of the first set.
    """

    references: Floats
    shifts: Floats
    free: NDArray[np.bool_]

    def table(self, elements: tuple[str, ...]) -> Floats:
        """Return the reference energies by level and atomic number, (n_levels, 119) in eV."""
        table = np.zeros((len(self.shifts), len(ase.data.chemical_symbols)))
        table[:, [ase.data.atomic_numbers[symbol] for symbol in elements]] = (
            self.references + self.shifts
        )
        return table


def fit_levels(
    frames: Frames, elements: tuple[str, ...], n_levels: int = 1, cutoff: float | None = None
) -> LevelFit:
    """Fit reference energies, and shifts of the sets against each other, by least squares.

    The level of an element is that of the first set that holds it; later sets have a shift.

    Parameters
    ----------
    frames
        All sets, each structure with its level.
    elements
        Those of the network.
    n_levels
        How many sets there are.
    cutoff
        If it is given, in Å, an element of which a set has an atom without neighbors within it has
        the energy of that atom there, and only the others are fitted.
    """
    numbers = [ase.data.atomic_numbers[symbol] for symbol in elements]
    held = _held(frames, numbers, n_levels)
    free = held & (np.cumsum(held, axis=0) - held > 0)
    known = np.full(held.shape, np.nan)
    if cutoff is not None:
        known = _of_atoms(frames, numbers, n_levels, cutoff)
    triangle: Floats = np.empty((0, len(elements) + int(free.sum()) + 1))
    for block in frames.blocks():  # the factor R of a QR grows by a block at a time
        counts = block.counts(numbers).astype(np.float64)
        told = known[block.level]  # (S, n_elements)
        energy = block.energy - (counts * np.nan_to_num(told)).sum(axis=1)
        counts[~np.isnan(told)] = 0
        own = block.level[:, None] == np.arange(n_levels)  # (S, n_levels)
        shifts = (own[:, :, None] * counts[:, None, :])[:, free]
        rows = np.column_stack([counts, shifts, energy])
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, rows]), mode="r"))
    fitted = np.linalg.lstsq(triangle[:, :-1], triangle[:, -1], rcond=1e-10)[0]
    found = np.zeros(free.shape)
    found[free] = fitted[len(elements) :]
    of_level = np.where(np.isnan(known), fitted[: len(elements)] + found, known)
    references = of_level[held.argmax(axis=0), np.arange(len(elements))]
    return LevelFit(references, np.where(free, of_level - references, 0.0), free)


def alone(frames: Frames, cutoff: float) -> NDArray[np.bool_]:
    """Tell which structures are one atom without neighbors within a cutoff in Å, (S,)."""
    found = frames.n_atoms() == 1
    for index in np.flatnonzero(found):
        found[index] = frames.edges(int(index), cutoff)[0].shape[1] == 0
    return np.asarray(found)


def _of_atoms(frames: Frames, numbers: list[int], n_levels: int, cutoff: float) -> Floats:
    """Return the mean energy in eV of each set's atoms that are alone, NaN without one."""
    sums, atoms = np.zeros((2, n_levels, len(numbers)))
    for block in frames.blocks():
        single = block.take(np.flatnonzero(alone(block, cutoff)))
        place = single.level, single.counts(numbers).argmax(axis=1)
        np.add.at(sums, place, single.energy)
        np.add.at(atoms, place, 1)
    return np.divide(sums, atoms, out=np.full_like(sums, np.nan), where=atoms > 0)


def _held(frames: Frames, numbers: list[int], n_levels: int) -> NDArray[np.bool_]:
    """Return which set holds which element, (n_levels, n_elements)."""
    held = np.zeros((n_levels, len(numbers)), dtype=bool)
    for block in frames.blocks():
        present = block.counts(numbers) > 0
        for level in range(n_levels):
            held[level] |= present[block.level == level].any(axis=0)
    return held


class Levels(nn.Module):
    """What is learned of the shifts between sets, on top of the least squares fit.

    That fit mixes the difference of two theories with that of the structures in the two sets: a
    set of liquids lies higher than one of crystals. Trained with the network, the shifts end where
    the same atoms have the same energy in both.

    Parameters
    ----------
    free
        Which shifts there are, (n_levels, n_elements).
    """

    free: Tensor

    def __init__(self, free: NDArray[np.bool_]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(free.shape))
        self.register_buffer("free", torch.from_numpy(free).float(), persistent=False)

    def named(
        self, fit: LevelFit, names: list[str], elements: tuple[str, ...]
    ) -> dict[str, dict[str, float]]:
        """Return each further set's shift of each element in eV, fitted and learned together."""
        learned = (self.table.detach() * self.free).double().cpu().numpy()
        rows = list(zip(names, fit.shifts + learned, strict=True))[1:]
        return {name: dict(zip(elements, row.tolist(), strict=True)) for name, row in rows}

    def forward(self, level: Tensor, elements: Tensor) -> Tensor:
        """Return the energy in eV that each atom's level adds, (N,), given levels and elements."""
        flat = (self.table * self.free).flatten()
        return flat.index_select(0, level * self.table.shape[1] + elements)
