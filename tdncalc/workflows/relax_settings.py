"""What a relaxation is asked for, reports and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tdncalc.errors import OptionError
from tdncalc.workflows import _validation as check

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

OptimizerName = Literal["lbfgs", "fire", "bfgs"]
CellMode = Literal["fixed", "full", "isotropic", "shape", "xy"]

OPTIMIZERS: tuple[OptimizerName, ...] = ("lbfgs", "fire", "bfgs")
CELL_MODES: tuple[CellMode, ...] = ("fixed", "full", "isotropic", "shape", "xy")

# A cell is relaxed when its stress is below fmax / 80 Å²: 0.1 GPa at fmax = 0.05 eV/Å, tighter
# with it. ASE's own measure, |V σ| / N, leaves 0.7 GPa in copper at that fmax.
_AREA_PER_BOND = 80.0  # Å²


@dataclass(frozen=True)
class RelaxSettings:
    """How to relax.

    Attributes
    ----------
    fmax
        Largest force that counts as relaxed, eV/Å.
    steps
        Most steps to take.
    optimizer
        L-BFGS that begins with the inverse Hessian of a model force field, which takes the fewest
        steps, or ASE's FIRE or BFGS; the quasi-Newton ones are kept from climbing.
    cell
        What of the cell moves: nothing; all of it; its volume; its shape at constant volume; or
        the strain in the xy plane (slabs).
    pressure_GPa
        External pressure on a moving volume; positive compresses.
    fix_symmetry
        Refine the structure to its space group and keep it.
    max_novelty
        Novelty of an atom above which it ends, with a model that has it; None: no limit.
    """

    fmax: float = 0.05
    steps: int = 500
    optimizer: OptimizerName = "lbfgs"
    cell: CellMode = "fixed"
    pressure_GPa: float = 0.0
    fix_symmetry: bool = False
    max_novelty: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is outside the allowed."""
        check.positive("fmax", self.fmax, "0.05 (eV/Å)")
        check.whole("steps", self.steps, 0)
        check.one_of("optimizer", self.optimizer, OPTIMIZERS)
        check.one_of("cell", self.cell, CELL_MODES)
        check.finite("pressure_GPa", self.pressure_GPa)
        if self.max_novelty is not None:
            check.positive("max_novelty", self.max_novelty, "3")
        if self.pressure_GPa != 0 and self.cell in ("fixed", "shape"):
            raise OptionError(
                f"pressure_GPa={self.pressure_GPa:g} has no effect on cell={self.cell!r}, whose "
                "volume is fixed; choose full, isotropic or xy"
            )

    @property
    def max_stress(self) -> float:
        """Largest component of stress plus pressure that counts as relaxed, eV/Å³."""
        return self.fmax / _AREA_PER_BOND


@dataclass(frozen=True)
class RelaxStep:
    """One step of a relaxation, as an observer sees it.

    Attributes
    ----------
    step
        Steps taken so far; 0 is the start.
    energy
        Potential energy, eV.
    fmax
        Largest force on an atom after constraints, eV/Å.
    max_stress_GPa
        Largest component of stress plus pressure that the cell may relax, of the film and not of
        its vacuum in the xy mode; None for a fixed cell.
    volume
        Volume of the cell, Å³; None without a cell of three vectors.
    """

    step: int
    energy: float
    fmax: float
    max_stress_GPa: float | None
    volume: float | None


@dataclass(frozen=True)
class MovedApart:
    """Atoms that lay so near to others that they were moved before a relaxation began.

    Attributes
    ----------
    n_atoms
        How many were moved.
    largest_A
        The longest way of one, Å.
    """

    n_atoms: int
    largest_A: float

    def __str__(self) -> str:
        """Tell it in one line."""
        which = "1 atom lay" if self.n_atoms == 1 else f"{self.n_atoms} atoms lay"
        return f"{which} far too near to others: moved apart first, by up to {self.largest_A:.2f} Å"


@dataclass(frozen=True)
class RelaxResult:
    """Where a relaxation ended.

    Attributes
    ----------
    structure
        The final structure, of the type that was given.
    atoms
        The same as Atoms, with its energy, forces and stress attached.
    converged
        Forces, and the stress of a moving cell, are below their limits.
    reason
        "converged", "stopped", or why it did not converge.
    steps
        Steps taken, with those before a resume.
    energy
        Final potential energy, eV.
    fmax
        Largest force on an atom after constraints, eV/Å.
    stress_GPa
        (6,) final stress in ASE's Voigt order and sign, or None.
    seconds
        Wall time of this call.
    moved_apart
        What was moved apart before the first step; None if nothing was.
    """

    structure: Any
    atoms: Atoms
    converged: bool
    reason: str
    steps: int
    energy: float
    fmax: float
    stress_GPa: np.ndarray | None
    seconds: float
    moved_apart: MovedApart | None = None
