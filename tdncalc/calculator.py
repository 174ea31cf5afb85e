"""The network as an ASE calculator: a thin adapter from atoms to results."""

import math
import threading
from collections.abc import Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)
from ase.outputs import Properties, all_outputs
from numpy.typing import NDArray

from tdncalc.checkpoint import DEFAULT_MODEL, load_model
from tdncalc.errors import OptionError
from tdncalc.geometry.graph import AtomicGraph, listed_graph, make_graph, moved_graph
from tdncalc.geometry.neighbors import SkinNeighborList
from tdncalc.native.choice import Evaluation
from tdncalc.potential import Potential
from tdncalc.results import PROPERTIES, split_results
from tdncalc.structures import check, check_elements
from tdncalc.structures.checks import SAME_POINT, check_apart, check_finite, check_repeat
from tdncalc.torch_modes import undisturbed

__all__ = ["TDNCalculator"]

_NOVELTY = ("novelty", "novelties")


class TDNCalculator(Calculator):
    """ASE calculator of a tensor decomposition network.

    Energies in eV, forces in eV/Å, stress in eV/Å³ with ASE's sign (positive under tension) and
    Voigt order. Only what is asked for is computed; unchanged atoms are never computed again.
    Results do not depend on the history of the calculator. Threads may share one and take turns;
    for speed give each its own. A model that has a novelty gives it with everything else:
    ``novelties`` (N,) and ``novelty``, the largest of them, in ``results`` and by
    :meth:`get_property`. They are not among ``implemented_properties``: ASE's sums of calculators
    would add up those of two models.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:n``, or a ``torch.device``.
    dtype
        Precision of the network, ``float32`` or ``float64``; results are float64.
    skin
        Å; the neighbor list is made this much larger than the cutoff, and kept until an atom has
        moved more than half of it. It changes the speed only.
    evaluation
        ``auto``: in float32 a compiled kernel as soon as there is one, on a GPU Triton's;
        ``eager``: PyTorch; ``compiled``: the kernel, compiled now if need be. They agree to
        rounding.
    product
        How tensor products are evaluated, as :func:`tdncalc.checkpoint.load_model`.
    dispersion
        A functional, as ``pbe``: D3(BJ) with its parameters is added to everything but the novelty,
        as :func:`tdncalc.checkpoint.load_model`. Only for theories without dispersion.

    Raises
    ------
    ModelNotFoundError, DamagedModelError, OptionError
        As :func:`tdncalc.checkpoint.load_model`; OptionError also for a skin that is
        no number, negative or without end.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        skin: float = 1.0,
        evaluation: Evaluation = "auto",
        product: str | None = None,
        dispersion: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        try:
            possible = 0 <= skin < math.inf
        except TypeError:
            possible = False
        if not possible:
            raise OptionError(f"skin {skin!r} Å is not allowed; give a number, 0 or more")
        self.potential: Potential = load_model(
            model,
            device=device,
            dtype=dtype,
            product=product,
            evaluation=evaluation,
            dispersion=dispersion,
        )
        if self.potential.direct_forces:  # they are no derivatives of an energy, nor is a stress
            self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        # What ASE keeps beside results in databases and trajectories.
        sha256 = self.model_identity.get("sha256", "")
        self.parameters.update(model=self.potential.name, sha256=sha256, dtype=dtype)
        if self.potential.dispersion is not None:
            self.parameters.update(dispersion=str(self.potential.dispersion))
        self.neighbors = SkinNeighborList(self.potential.cutoff, skin)
        self._listed: tuple[int, AtomicGraph] | None = None  # with the number of its search
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock and neighbors, which threads would share, out of copies and pickles."""
        kept = {key: value for key, value in vars(self).items() if key != "_lock"}
        own = SkinNeighborList(self.neighbors.cutoff, self.neighbors.skin)
        return kept | {"neighbors": own, "_listed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a lock of its own."""
        self.__dict__.update(state, _lock=threading.RLock())

    def for_a_run(self) -> "TDNCalculator":
        """Return a calculator of the same model whose results nobody else replaces meanwhile."""
        return copy(self)

    @property
    def direct_forces(self) -> bool:
        """Whether forces are no gradient of the energy."""
        return self.potential.direct_forces

    @property
    def gives_novelty(self) -> bool:
        """Whether results hold a novelty."""
        return self.potential.novelty is not None

    @property
    def evaluation(self) -> str:
        """Which evaluation runs at present, ``eager`` or ``compiled``."""
        return self.potential.evaluation

    @property
    def model_identity(self) -> dict[str, str]:
        """Name and sha256 of the model, and its dispersion if any; empty if it was never saved."""
        return self.potential.identity

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return which of numbers, positions, cell and pbc are new, compared to the last bit.

        Nothing else changes the energy.
        """
        if self.atoms is None:
            return list(all_changes)
        old = self.atoms
        same = {
            "positions": np.array_equal(atoms.positions, old.positions),
            "numbers": np.array_equal(atoms.numbers, old.numbers),
            "cell": np.array_equal(atoms.cell.array, old.cell.array),
            "pbc": np.array_equal(atoms.pbc, old.pbc),
        }
        return [name for name, unchanged in same.items() if not unchanged]

    def set(self, **kwargs: object) -> dict[str, object]:
        """Refuse to change a calculator: ASE would keep the new setting and compute by the old."""
        if kwargs:
            raise CalculatorSetupError(
                f"a TDNCalculator cannot be changed ({', '.join(kwargs)}); make a new one, as "
                "TDNCalculator(MODEL, dtype='float64')"
            )
        return {}

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:  # noqa: ANN401 - as ASE has it
        """Return one property of the atoms, as ASE's calculators do; threads take turns."""
        with self._lock:
            if name not in _NOVELTY or not self.gives_novelty:
                return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]
            energy = super().get_property("energy", atoms, allow_calculation)  # type: ignore[no-untyped-call]
            return None if energy is None else deepcopy(self.results[name])

    @undisturbed
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
        if "stress" in properties and self.potential.direct_forces:
            raise PropertyNotImplementedError("a model with direct forces has no stress")
        rank = self.atoms.cell.rank
        if "stress" in properties and rank < 3:
            raise PropertyNotImplementedError("stress needs a cell with three independent vectors")
        gradient = "forces" in properties or "stress" in properties
        graph = self._graph(self.atoms, exact=not self.potential.choice.takes_pairs())
        results = self.potential.compute(graph, forces=gradient, stress=gradient and rank == 3)
        if results.shortest is not None and results.shortest < SAME_POINT:
            check_apart(self.atoms)
        (self.results,) = split_results(graph, results, PROPERTIES)

    def export_properties(self) -> Properties:
        """Return the results that ASE knows: all but the novelty."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    @undisturbed
    def get_hessian(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the analytic second derivatives of the energy, (3N, 3N) in eV/Å²."""
        with self._lock:
            return self.potential.hessian(self._graph(atoms)).cpu().numpy()

    @undisturbed
    def get_descriptors(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the invariant features of every atom, (N, C)."""
        with self._lock:
            return self.potential.descriptors(self._graph(atoms)).cpu().numpy()

    def _graph(self, atoms: Atoms, *, exact: bool = True) -> AtomicGraph:
        """Return the graph of the edges or, if not exact, of pairs that contain them.

        The latter keeps the tensors of its pairs for as long as these stay the same.
        """
        potential = self.potential
        check_elements(atoms.numbers, potential.elements, potential.name, "structure")
        structure = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        if exact:
            check(atoms)
            return make_graph(*structure, *self.neighbors.update(*structure[1:]))
        check_finite(atoms)
        geometry = structure[1:]
        if self._listed and not self.neighbors.holds(*geometry):
            self._listed = None  # two lists need not lie in memory
        if self._listed is None or self._listed[0] != self.neighbors.n_builds:
            check_repeat(atoms)
            pairs = self.neighbors.candidates(*geometry)
            make = make_graph if potential.choice.kernel() is None else listed_graph
            self._listed = self.neighbors.n_builds, make(*structure, *pairs)
        return moved_graph(self._listed[1], *structure)
