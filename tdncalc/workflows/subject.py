"""What a workflow works on: its own copy of the caller's structure, with a calculator."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tdncalc import structures
from tdncalc.errors import CheckpointError, OptionError
from tdncalc.model_warnings import gives_novelty, novelty_results

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from ase.constraints import FixConstraint

_LOG = logging.getLogger(__name__)
# Another machine or precision moves the energy by less than this; another model by more.
_SAME_MODEL = 1e-3  # eV/atom
_RESULTS = ("energy", "free_energy", "energies", "forces", "stress")


def working_copy(x: structures.AnyStructure, calculator: Calculator | None) -> Atoms:
    """Return a checked copy of `x` with a calculator, so that the caller's object stays as it is.

    The calculator is `calculator`, else the one attached to `x`, else the bundled default model.
    Results read from a file are no calculator: they belong to one geometry. One that has
    ``for_a_run``, as a TDNCalculator, gives one of its own: what other threads or an observer
    compute with it meanwhile are no results of this run.
    """
    source: Atoms = structures.to_atoms(x)
    structures.check(source)
    atoms: Atoms = source.copy()
    _forget_novelty(atoms)
    if calculator is None:
        calculator = attached(x)
    if calculator is None:
        # Imported here: the workflows know nothing of the network unless it is asked for.
        from tdncalc.calculator import TDNCalculator

        calculator = TDNCalculator()
    if isinstance(calculator, type) or not hasattr(calculator, "get_potential_energy"):
        raise OptionError(
            f"calculator={calculator!r}: must be an ASE calculator, for instance "
            "TDNCalculator('organic')"
        )
    atoms.calc = calculator.for_a_run() if hasattr(calculator, "for_a_run") else calculator
    return atoms


def attached(x: structures.AnyStructure) -> Calculator | None:
    """Return the calculator that a structure came with, if it did."""
    calculator = getattr(x, "calc", None)
    return None if isinstance(calculator, SinglePointCalculator) else calculator


def snapshot(atoms: Atoms, constraints: Sequence[FixConstraint] | None = None) -> Atoms:
    """Return a copy of `atoms` that carries the results its calculator has now, and no calculator.

    `constraints` replace those of a run by those of the user.
    """
    frame: Atoms = atoms.copy()
    if constraints is not None:
        frame.set_constraint(copy.deepcopy(list(constraints)))
    return with_results(frame, {**atoms.calc.results, **novelty_results(atoms.calc)})


def with_results(atoms: Atoms, results: Mapping[str, Any]) -> Atoms:
    """Attach results to atoms, and return these: what ASE has no place for as info and array."""
    _forget_novelty(atoms)
    if "novelty" in results:
        atoms.info["novelty"] = results["novelty"]
        atoms.set_array("novelties", results["novelties"])
    known = {k: v for k, v in results.items() if k in _RESULTS and v is not None}
    for name in known:  # what a file said, which extxyz could not hold beside these
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
    atoms.calc = SinglePointCalculator(atoms, **known)
    return atoms


def _forget_novelty(atoms: Atoms) -> None:
    """Drop what a file said: it was of another geometry or model."""
    atoms.info.pop("novelty", None)
    atoms.arrays.pop("novelties", None)


def has_stress(atoms: Atoms) -> bool:
    """Tell whether the calculator has a stress and the cell a volume."""
    return "stress" in atoms.calc.implemented_properties and atoms.cell.rank == 3


def require_novelty(atoms: Atoms, limit: float | None) -> None:
    """Refuse a limit of the novelty that nothing would be measured against.

    Raises
    ------
    OptionError
        There is a limit, and the calculator gives no novelty.
    """
    if limit is not None and not gives_novelty(atoms.calc):
        raise OptionError(
            f"max_novelty={limit:g} needs a calculator that gives a novelty, and "
            f"{type(atoms.calc).__name__} gives none with this model; 'tdn models calibrate' "
            "fits one to a model, or leave it out"
        )


def model_of(calculator: Calculator) -> dict[str, str]:
    """Return name, sha256 and dispersion of a calculator's model, as far as it says them."""
    return dict(getattr(calculator, "model_identity", {}))


def require_same_model(what: str, recorded: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Refuse to resume with another model than the one recorded, where both are known.

    Raises
    ------
    CheckpointError
        Their sha256 differ, or the dispersion that is added.
    """
    what_counts = ("sha256", "dispersion")
    if recorded and given and any(recorded.get(k) != given.get(k) for k in what_counts):
        theirs, ours = map(_described, (recorded, given))
        raise CheckpointError(
            f"{what} was made with another model, {theirs}, not {ours}; resume with the "
            "same, or start anew"
        )


def _described(model: Mapping[str, str]) -> str:
    dispersion = f" with {model['dispersion']}" if "dispersion" in model else ""
    return f"{model['name']!r} ({model['sha256'][:12]}…){dispersion}"


def require_same_energy(what: str, recorded: float, energy: float, n_atoms: int) -> None:
    """Refuse to resume with a calculator that gives another energy than the one recorded, eV.

    Raises
    ------
    CheckpointError
        The energies differ by more than another machine or precision makes them.
    """
    if not abs(energy - recorded) <= _SAME_MODEL * n_atoms:
        raise CheckpointError(
            f"{what} has an energy of {recorded:.6f} eV, and the calculator gives {energy:.6f} eV; "
            "resume with the same model"
        )
    if energy != recorded:
        _LOG.warning(
            "%s: the energy differs by %.1e eV from the one recorded: it goes on, but not bit by "
            "bit (another machine, device, precision or number of threads?)",
            what,
            energy - recorded,
        )
