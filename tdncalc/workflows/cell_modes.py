"""What of the cell a relaxation moves, and when that part is relaxed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.constraints import FixConstraint, FixSymmetry
from ase.filters import Filter, FrechetCellFilter

from tdncalc.errors import OptionError
from tdncalc.workflows.constraints import arranged, not_in_stress
from tdncalc.workflows.films import film_factor
from tdncalc.workflows.relax_settings import CellMode, RelaxSettings, RelaxStep
from tdncalc.workflows.subject import has_stress, require_novelty, snapshot

if TYPE_CHECKING:
    from ase import Atoms

# The log of the strain times this length and √N is what an optimizer sees beside the positions, so
# that a cell is about as stiff as a bond whatever its size. With ASE's N instead, a distorted cell
# of 108 copper atoms takes 149 steps, not 29.
STRAIN_LENGTH = 1.5  # Å
_MOSTLY_FILM = 1.5  # cell over film: layers of a crystal lie nearer
_FLAT = 1e-4  # Å, and of rotations: what files round off
_XY = (True, True, False, False, False, True)  # Voigt xx, yy, zz, yz, xz, xy


@dataclass(frozen=True)
class Problem:
    """The atoms that are relaxed, with what of their cell moves.

    Attributes
    ----------
    atoms
        Structure with calculator and constraints.
    target
        What the optimizer moves: the atoms, or a filter of them and their cell.
    settings
        Limits, cell mode and pressure.
    constraints
        The user's.
    """

    atoms: Atoms
    target: Atoms | Filter
    settings: RelaxSettings
    constraints: tuple[FixConstraint, ...]

    def frame(self) -> Atoms:
        """Return the structure as it is, with its results and the user's constraints."""
        return snapshot(self.atoms, self.constraints)

    def measure(self, step: int) -> RelaxStep:
        """Evaluate the structure as it is."""
        # Stress first: a calculator that computes it has the forces for nothing.
        max_stress = None if self.settings.cell == "fixed" else self._max_stress()
        forces = self.atoms.get_forces()
        return RelaxStep(
            step=step,
            energy=float(self.atoms.get_potential_energy()),
            fmax=float(np.linalg.norm(forces, axis=1).max()),
            max_stress_GPa=None if max_stress is None else max_stress / units.GPa,
            volume=float(self.atoms.cell.volume) if self.atoms.cell.rank == 3 else None,
        )

    def enthalpy(self, now: RelaxStep) -> float:
        """Return what the optimizer minimizes, E + P V, eV."""
        pressure = self.settings.pressure_GPa * units.GPa
        return now.energy + pressure * (now.volume or 0.0)

    def converged(self, now: RelaxStep) -> bool:
        """Tell whether forces and the free part of the stress are below their limits."""
        stress = now.max_stress_GPa or 0.0
        return now.fmax < self.settings.fmax and stress * units.GPa < self.settings.max_stress

    def _max_stress(self) -> float:
        stress = self.atoms.get_stress(voigt=False)
        stress = stress + self.settings.pressure_GPa * units.GPa * np.eye(3)
        largest = float(np.abs(free_part(stress, self.settings.cell)).max())
        if self.settings.cell == "xy":
            largest *= film_factor(self.atoms.positions, self.atoms.cell.array)
        return largest


def pose(atoms: Atoms, settings: RelaxSettings) -> Problem:
    """Make `atoms` ready: symmetry refined and kept, the cell movable as asked.

    Raises
    ------
    OptionError
        The cell is not one that can move so, or the calculator has no stress, or no novelty
        where that has a limit.
    """
    require_novelty(atoms, settings.max_novelty)
    constraints = tuple(atoms.constraints)
    atoms.set_constraint(arranged(atoms))
    if settings.cell != "fixed":
        require_movable_cell(atoms, settings.cell)
    if settings.fix_symmetry:
        _require_full_cell(atoms, "fix_symmetry")
        symmetry = FixSymmetry(atoms)
        if settings.cell == "xy" and _mixes_z(symmetry.rotations, atoms.cell.array):
            raise OptionError(
                "fix_symmetry with cell='xy': the symmetry of this structure takes z into x or y, "
                "so they cannot stretch without it; use another cell mode or no fix_symmetry"
            )
        atoms.set_constraint([*atoms.constraints, symmetry])
    if settings.cell == "fixed":
        return Problem(atoms, atoms, settings, constraints)
    cell_filter = FrechetCellFilter(
        atoms,
        exp_cell_factor=STRAIN_LENGTH * np.sqrt(len(atoms)),
        mask=_XY if settings.cell == "xy" else None,
        hydrostatic_strain=settings.cell == "isotropic",
        constant_volume=settings.cell == "shape",
        scalar_pressure=settings.pressure_GPa * units.GPa,
    )
    return Problem(atoms, cell_filter, settings, constraints)


def _mixes_z(rotations: Iterable[np.ndarray], cell: np.ndarray) -> bool:
    """Tell whether one of the rotations, in fractions of the cell, turns z out of its line."""
    turned = [np.linalg.solve(cell, rotation.T @ cell) for rotation in rotations]
    return any(np.abs(matrix[2, :2]).max() > _FLAT for matrix in turned)


def _is_film(atoms: Atoms) -> bool:
    """Tell a slab from a crystal: the third direction is not periodic, or much of it vacuum."""
    return not atoms.pbc[2] or film_factor(atoms.positions, atoms.cell.array) > _MOSTLY_FILM


def free_part(stress: np.ndarray, mode: CellMode) -> np.ndarray:
    """Return the components of a (3, 3) stress that a cell mode relaxes; the others zero."""
    mean = np.trace(stress) / 3 * np.eye(3)
    if mode == "isotropic":
        return np.asarray(mean)
    if mode == "shape":
        return np.asarray(stress - mean)
    if mode == "xy":
        plane = np.zeros((3, 3))
        plane[:2, :2] = stress[:2, :2]
        return plane
    return stress


def free_strain(mode: CellMode, n_atoms: int) -> np.ndarray | None:
    """Return the projector (9, 9) to the strains that a cell mode moves, over their length in Å.

    It takes a gradient by a strain to that by what an optimizer sees of it; None for a fixed cell.
    """
    if mode == "fixed":
        return None
    basis = np.eye(9).reshape(9, 3, 3)
    parts = [free_part((one + one.T) / 2, mode).ravel() for one in basis]
    return np.asarray(np.stack(parts) / (STRAIN_LENGTH * np.sqrt(n_atoms)))


def require_movable_cell(atoms: Atoms, mode: CellMode) -> None:
    """Raise an OptionError unless the cell can move so and there is a stress that says where to."""
    if mode != "xy":
        _require_full_cell(atoms, f"cell={mode!r}")
    elif not atoms.pbc[:2].all() or atoms.cell.rank < 3:
        raise OptionError(
            f"cell='xy' on a structure with pbc={_pbc(atoms)}: needs periodic directions along the "
            "first two of three cell vectors (for a slab, give the third one as vacuum)"
        )
    elif _is_film(atoms) and np.abs(atoms.cell.array[:2, 2]).max() > _FLAT:
        raise OptionError(
            "cell='xy' on a slab whose first two cell vectors do not lie in the xy plane; "
            "turn it, for instance by atoms.rotate(normal, 'z', rotate_cell=True)"
        )
    if not has_stress(atoms):
        raise OptionError(
            f"cell={mode!r} needs a stress, which the calculator does not have; use cell='fixed'"
        )
    if kind := not_in_stress(atoms):
        raise OptionError(
            f"cell={mode!r} with the constraint {kind}, whose forces are missing from the stress: "
            "the cell would get a wrong size; use cell='fixed' or drop the constraint"
        )


def _require_full_cell(atoms: Atoms, what: str) -> None:
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise OptionError(
            f"{what} on a structure with pbc={_pbc(atoms)}: needs a crystal, periodic in all three "
            "directions"
        )


def _pbc(atoms: Atoms) -> str:
    return "".join("T" if periodic else "F" for periodic in atoms.pbc)
