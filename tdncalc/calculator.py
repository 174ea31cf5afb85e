"""The network as an ASE calculator: a thin adapter from atoms to results."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)
from numpy.typing import NDArray

from tdncalc.checkpoint import DEFAULT_MODEL, load_model
from tdncalc.errors import OptionError
from tdncalc.geometry.graph import AtomicGraph, make_graph
from tdncalc.geometry.neighbors import SkinNeighborList
from tdncalc.potential import Potential, split_results
from tdncalc.structures import check, check_elements

__all__ = ["TDNCalculator"]


class TDNCalculator(Calculator):
    """ASE calculator of a tensor decomposition network.

    Energies in eV, forces in eV/Å, stress in eV/Å³ with ASE's sign (positive under tension) and
    Voigt order. Only what is asked for is computed; unchanged atoms are never computed again.
    Results do not depend on the history of the calculator.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
    dtype
        Precision of the network, ``float32`` or ``float64``; results are float64.
    skin
        Å; the neighbor list is made this much larger than the cutoff, and kept until an atom has
        moved more than half of it. It changes the speed only.

    Raises
    ------
    ModelNotFoundError, DamagedModelError, OptionError
        As :func:`tdncalc.checkpoint.load_model`; OptionError also for a negative skin.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "auto",
        dtype: str = "float32",
        skin: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not skin >= 0:
            raise OptionError(f"skin {skin} Å is not allowed; give 0 or more")
        self.potential: Potential = load_model(model, device=device, dtype=dtype)
        self.neighbors = SkinNeighborList(self.potential.cutoff, skin)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute the properties of the atoms into ``results``.

        The energies always come along, and forces and stress with each other: they are sums of the
        same gradient.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if self.atoms is None:
            raise CalculatorSetupError("no atoms to compute; give calculate() an ase.Atoms")
        if system_changes:
            self.results = {}  # nothing old remains should this fail
        rank = self.atoms.cell.rank
        if "stress" in properties and rank < 3:
            raise PropertyNotImplementedError("stress needs a cell with three independent vectors")
        gradient = "forces" in properties or "stress" in properties
        graph = self._graph(self.atoms)
        results = self.potential.compute(graph, forces=gradient, stress=gradient and rank == 3)
        (self.results,) = split_results(graph, results, self.implemented_properties)

    def get_hessian(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the analytic second derivatives of the energy, (3N, 3N) in eV/Å²."""
        return self.potential.hessian(self._graph(atoms)).cpu().numpy()

    def get_descriptors(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the invariant features of every atom, (N, C)."""
        return self.potential.descriptors(self._graph(atoms)).cpu().numpy()

    def _graph(self, atoms: Atoms) -> AtomicGraph:
        check(atoms)
        check_elements(atoms.numbers, self.potential.elements, self.potential.name, "structure")
        cell = atoms.cell.array
        edges = self.neighbors.update(atoms.positions, cell, atoms.pbc)
        return make_graph(atoms.numbers, atoms.positions, cell, *edges)
