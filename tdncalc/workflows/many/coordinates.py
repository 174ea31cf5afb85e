"""What an optimizer moves: the atoms of many structures, or the atoms and their cells."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from ase import units

from tdncalc.moving_state import State
from tdncalc.workflows.cell_modes import STRAIN_LENGTH, free_part
from tdncalc.workflows.relax_settings import RelaxSettings
from tdncalc.workflows.rows import Bools, Floats, Rows


class Coordinates(Protocol):
    """Rows of coordinates, and where they put atoms and cells."""

    rows: Rows

    def change(self, kept: Bools, positions: list[Floats], cells: list[Floats]) -> None:
        """Keep some structures, mask (B,), and append others."""

    def place(self) -> tuple[Floats, Floats]:
        """Return positions (N, 3) and cells (B, 3, 3)."""

    def gradient(self, state: State) -> Floats:
        """Return the gradient (R, 3) of what is minimized; `state` has constrained forces."""

    @property
    def x(self) -> Floats:
        """The coordinates, (R, 3)."""

    def move(self, step: Floats) -> None:
        """Add a step (R, 3)."""


class Atomic:
    """Positions in cells that stay."""

    def __init__(self) -> None:
        self.x = np.empty((0, 3))
        self.rows = Rows(np.empty(0, dtype=np.int64))
        self._cells = np.empty((0, 3, 3))

    def change(self, kept: Bools, positions: list[Floats], cells: list[Floats]) -> None:
        """Keep some structures, mask (B,), and append others."""
        self.x = np.concatenate([self.x[np.repeat(kept, self.rows.counts)], *positions])
        self._cells = np.concatenate([self._cells[kept], *(cell[None] for cell in cells)])
        counts = [len(p) for p in positions]
        self.rows = Rows(np.concatenate([self.rows.counts[kept], counts]).astype(np.int64))

    def place(self) -> tuple[Floats, Floats]:
        """Return positions (N, 3) and cells (B, 3, 3)."""
        return self.x, self._cells

    def gradient(self, state: State) -> Floats:
        """Return minus the forces (N, 3)."""
        return -state.forces

    def move(self, step: Floats) -> None:
        """Add a step (N, 3)."""
        self.x = self.x + step


class AtomicAndCell:
    """Positions and the logarithm U of a deformation, cell = cell₀ exp(Uᵀ).

    As ASE's FrechetCellFilter: the atoms' rows are positions before the deformation, and three more
    rows are U times a length. The gradient by U is L(Uᵀ, W exp(-U)ᵀ), with the virial W and the
    Fréchet derivative L of the matrix exponential, a block of the exponential of
    [[Uᵀ, W exp(-U)ᵀ], [0, Uᵀ]] (A. H. Al-Mohy and N. J. Higham, SIAM J. Matrix Anal. Appl. 30,
    1639 (2009)).
    """

    def __init__(self, settings: RelaxSettings) -> None:
        self._settings = settings
        self._positions = np.empty((0, 3))
        self._cells = np.empty((0, 3, 3))
        self._logs = np.empty((0, 3, 3))
        self._atoms = Rows(np.empty(0, dtype=np.int64))
        self._set_rows()

    def change(self, kept: Bools, positions: list[Floats], cells: list[Floats]) -> None:
        """Keep some structures, mask (B,), and append others."""
        by_atom = np.repeat(kept, self._atoms.counts)
        self._positions = np.concatenate([self._positions[by_atom], *positions])
        self._cells = np.concatenate([self._cells[kept], *(cell[None] for cell in cells)])
        self._logs = np.concatenate([self._logs[kept], np.zeros((len(cells), 3, 3))])
        counts = [len(p) for p in positions]
        self._atoms = Rows(np.concatenate([self._atoms.counts[kept], counts]).astype(np.int64))
        self._set_rows()

    def _set_rows(self) -> None:
        counts = self._atoms.counts
        self.rows = Rows(counts + 3)
        ends = np.cumsum(counts + 3)
        self._cell_rows = (ends[:, None] + np.array([-3, -2, -1])).ravel()
        self._atom_rows = np.setdiff1d(np.arange(ends[-1] if len(ends) else 0), self._cell_rows)
        self._lengths = STRAIN_LENGTH * np.sqrt(counts)[:, None, None]

    @property
    def x(self) -> Floats:
        """The coordinates, (R, 3)."""
        return self._joined(self._positions, self._logs * self._lengths)

    def place(self) -> tuple[Floats, Floats]:
        """Return positions (N, 3) and cells (B, 3, 3)."""
        deformations = _exponential(self._logs).transpose(0, 2, 1)
        positions = np.einsum("nx,nxy->ny", self._positions, deformations[self._atoms.owner])
        return positions, self._cells @ deformations

    def move(self, step: Floats) -> None:
        """Add a step (R, 3)."""
        self._positions = self._positions + step[self._atom_rows]
        self._logs = self._logs + step[self._cell_rows].reshape(-1, 3, 3) / self._lengths

    def gradient(self, state: State) -> Floats:
        """Return minus the forces on the undeformed positions and on U, (R, 3)."""
        deformations = _exponential(self._logs)
        forces = np.einsum("nx,nxy->ny", state.forces, deformations[self._atoms.owner])
        virials = -self._volumes(state) * free_parts(state, self._settings, hydrostatic=True)
        by_deformation = virials @ np.linalg.inv(deformations).transpose(0, 2, 1)
        torques = _derivative(self._logs.transpose(0, 2, 1), by_deformation)
        if self._settings.cell == "shape":
            torques -= np.trace(torques, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        return -self._joined(forces, torques / self._lengths)

    def _joined(self, by_atom: Floats, by_cell: Floats) -> Floats:
        joined = np.empty((len(by_atom) + 3 * len(by_cell), 3))
        joined[self._atom_rows] = by_atom
        joined[self._cell_rows] = by_cell.reshape(-1, 3)
        return joined

    @staticmethod
    def _volumes(state: State) -> Floats:
        return np.asarray(np.abs(np.linalg.det(state.cells))[:, None, None])


def _stresses(state: State) -> Floats:
    """Return the stress of each structure, all with a volume, (B, 3, 3) in eV/Å³."""
    assert state.strain_gradient is not None
    volumes = np.abs(np.linalg.det(state.cells))[:, None, None]
    symmetric = (state.strain_gradient + state.strain_gradient.transpose(0, 2, 1)) / 2
    return np.asarray(symmetric / volumes)


def free_parts(state: State, settings: RelaxSettings, *, hydrostatic: bool = False) -> Floats:
    """Return the components of stress plus pressure that relax, (B, 3, 3) in eV/Å³.

    With `hydrostatic` the trace is kept at constant volume, as ASE's filter does until the last.
    """
    total = _stresses(state) + settings.pressure_GPa * units.GPa * np.eye(3)
    if hydrostatic and settings.cell == "shape":
        return np.asarray(total)
    return np.stack([free_part(one, settings.cell) for one in total])


def _exponential(matrices: Floats) -> Floats:
    return np.asarray(torch.linalg.matrix_exp(torch.from_numpy(matrices)).numpy())


def _derivative(matrices: Floats, directions: Floats) -> Floats:
    """Return the Fréchet derivatives of the exponential at (B, 3, 3) along (B, 3, 3)."""
    zero = np.zeros_like(matrices)
    blocks = np.block([[matrices, directions], [zero, matrices]])  # (B, 6, 6)
    return _exponential(blocks)[:, :3, 3:]
