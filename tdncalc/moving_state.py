"""What is known of many structures that are evaluated together, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tdncalc.results import voigt

if TYPE_CHECKING:
    from tdncalc.errors import TDNError

__all__ = ["Placed", "State"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What a potential says of B structures and N atoms, and where they are.

    Attributes
    ----------
    positions, cells
        Å, (N, 3) and (B, 3, 3).
    energies, energy
        eV, of each atom (N,) and of each structure (B,).
    forces
        eV/Å, (N, 3).
    strain_gradient
        ∂E/∂ε in eV, (B, 3, 3); None where it was not asked for.
    novelties
        Novelty of each atom, (N,), of a model that has one.
    """

    BY_ATOM: ClassVar[frozenset[str]] = frozenset({"positions", "energies", "forces", "novelties"})

    positions: _Floats
    cells: _Floats
    energies: _Floats
    energy: _Floats
    forces: _Floats
    strain_gradient: _Floats | None
    novelties: _Floats | None = None

    def take(self, atoms: NDArray[np.bool_], structures: NDArray[np.bool_]) -> State:
        """Return the part of some structures and their atoms, masks (N,) and (B,)."""
        values = {k: v for k, v in vars(self).items() if v is not None}
        taken = {k: v[atoms if k in self.BY_ATOM else structures] for k, v in values.items()}
        return State(**{"strain_gradient": None} | taken)

    def novelty(self, own: slice) -> dict[str, float | _Floats]:
        """Return what results say of the novelty of some atoms: nothing without a measure of it."""
        if self.novelties is None:
            return {}
        found = self.novelties[own].copy()
        return {"novelties": found, "novelty": float(found.max())}

    def stress(self, place: int) -> _Floats:
        """Return the stress of a structure with a volume, (6,) in eV/Å³ and ASE's order."""
        assert self.strain_gradient is not None
        volume = abs(np.linalg.det(self.cells[place]))
        return voigt(torch.from_numpy(self.strain_gradient[place] / volume))


@dataclass(frozen=True)
class Placed:
    """Structures whose evaluation is to come.

    Attributes
    ----------
    state
        Where they are; results are not numbers yet.
    faults
        Which of them cannot be evaluated, and why.
    """

    state: State
    faults: dict[int, TDNError]
