"""Dispersion that a model's theory lacks: D3 with the damping of Becke and Johnson.

The library s-dftd3 computes it (package ``dftd3``), which is imported where it is first needed.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from tdncalc.errors import OptionError
from tdncalc.geometry.graph import AtomicGraph
from tdncalc.results import Results
from tdncalc.structures.checks import complete_cell

if TYPE_CHECKING:
    from dftd3.interface import DispersionModel, RationalDampingParam

__all__ = ["Dispersion", "make_dispersion", "unlike_theory"]

_LAST = 103  # beyond, the library has no coefficients: it gives zeros, or ends the process
_ROOM = 1.0  # Å around the atoms along directions that are not periodic

# What theories with dispersion have in their names: D3, not the d functions of a basis; a kernel;
# xTB; and correlation of electrons far from each other.
_DISPERSIVE = re.compile(
    r"(?<!\d) d[234] (bj|zero|op|m)? (?![\da-z])"
    r"| -(d|v|nl|3c) (?![\da-z]) | [-+] ts (?![a-z]) | vv10 | vdw | mbd | xdm | xtb | gfn"
    r"| (?<![a-z]) (mp[234] | rpa | ccsd | qmc | dmc) | coupled.cluster",
    re.IGNORECASE | re.VERBOSE,
)
_UNCLEAR = re.compile(r"\b(no|not|without)\b|dispersion|van.der.waals", re.IGNORECASE)

_Floats = NDArray[np.float64]

# The library gives wrong numbers now and then when two threads are in it.
_BUSY = threading.Lock()


@dataclass(frozen=True)
class Dispersion:
    r"""D3(BJ) with the damping parameters of a functional.

    .. math:: E = -\frac12 \sum_{A≠B} \sum_{n=6,8} s_n \frac{C_n^{AB}}{R_{AB}^n + f_{AB}^n}, \quad
        f_{AB} = a_1 \sqrt{C_8^{AB} / C_6^{AB}} + a_2,

    with coefficients that depend on the coordination numbers (S. Grimme, J. Antony, S. Ehrlich,
    H. Krieg, J. Chem. Phys. 132, 154104 (2010)) and this damping (S. Grimme, S. Ehrlich,
    L. Goerigk, J. Comput. Chem. 32, 1456 (2011)). No three-body term; pairs up to
    60 bohr, and neighbors that coordinate up to 40, where an energy may jump by some 10⁻⁶ eV.

    Attributes
    ----------
    functional
        Whose parameters they are, in lower case.
    """

    functional: str

    def __str__(self) -> str:
        return f"D3(BJ) of {self.functional}"

    def add(self, graph: AtomicGraph, results: Results) -> Results:
        """Return the results of a graph and the dispersion of its structures together.

        Each atom of a pair has half of its energy; derivatives are added where there are any.
        """
        derivatives = results.forces is not None
        device = results.energies.device
        with _BUSY:
            parts = [_evaluate(self.functional, one, derivatives) for one in _structures(graph)]
        energies, forces, strain_gradient = (
            torch.from_numpy(np.concatenate(values)).to(device)
            for values in zip(*parts, strict=True)
        )
        energy = torch.tensor([part.energies.sum() for part in parts]).to(results.energy)
        strain = results.strain_gradient
        return replace(
            results,
            energies=results.energies + energies,
            energy=results.energy + energy,
            forces=None if results.forces is None else results.forces + forces,
            strain_gradient=None if strain is None else strain + strain_gradient,
        )

    def hessian(self, graph: AtomicGraph) -> torch.Tensor:
        """Return the analytic second derivatives for one structure in eV/Å², (3N, 3N)."""
        (structure,) = _structures(graph)
        with _BUSY:
            found = _model(structure).get_hessian(_damping(self.functional))["hessian"]
        return torch.from_numpy(found * (Hartree / Bohr**2)).to(graph.positions)


def make_dispersion(functional: str) -> Dispersion:
    """Return D3(BJ) of a functional.

    Raises
    ------
    OptionError
        There are no parameters for it, or dftd3 is not installed.
    """
    try:
        with _BUSY:
            known = isinstance(functional, str) and _damping(functional.lower()) is not None
    except ImportError as error:
        raise OptionError(
            f"dispersion {functional!r} needs the package dftd3, which is not installed; "
            "pip install 'tdncalc[dispersion]'"
        ) from error
    except RuntimeError:
        known = False
    if not known:
        raise OptionError(
            f"dispersion {functional!r} is not known; give a functional with parameters for "
            "D3(BJ), such as pbe, revpbe, pbesol, pbe0, b3lyp, blyp, tpss or r2scan"
        )
    return Dispersion(functional.lower())


def unlike_theory(card: Mapping[str, Any], dispersion: Dispersion) -> str | None:
    """Tell in one line why dispersion may not fit a model's theory; None if it does.

    Raises
    ------
    OptionError
        The theory has dispersion already, or D3 does not have an element of the model.
    """
    if beyond := [one for one in card["elements"] if atomic_numbers[one] > _LAST]:
        raise OptionError(
            f"model {card['name']!r} has {beyond[0]}, and D3 no element beyond "
            f"{chemical_symbols[_LAST]}; leave dispersion out"
        )
    theory = card.get("theory")
    if not isinstance(theory, str) or not theory.strip():
        return (
            f"the card of model {card['name']!r} has no theory, and {dispersion} is added; is "
            "there none in its data?"
        )
    unclear = _UNCLEAR.search(theory) is not None
    if _DISPERSIVE.search(theory) and not unclear:
        raise OptionError(
            f"the theory of model {card['name']!r}, {theory}, has dispersion already, and "
            f"{dispersion} would count it twice; leave dispersion out"
        )
    if unclear or _plain(re.split(r"[/\s,(]", theory.strip())[0]) != _plain(dispersion.functional):
        return (
            f"{dispersion} is added to model {card['name']!r}, whose theory is {theory}: does it "
            "belong to that, and is there no dispersion in it?"
        )
    return None


def _plain(functional: str) -> str:
    """Return the name of a functional as it may be spelled otherwise, too."""
    return functional.lower().replace("-", "").replace("ω", "w")


class _Structure(NamedTuple):
    """Atomic numbers, positions and cell in Å, and where it is periodic."""

    numbers: NDArray[np.int64]
    positions: _Floats
    cell: _Floats
    pbc: NDArray[np.bool_]


class _Part(NamedTuple):
    """Energies (N,) in eV, forces (N, 3) in eV/Å, and derivatives by strain (1, 3, 3) in eV."""

    energies: _Floats
    forces: _Floats
    strain_gradient: _Floats


def _structures(graph: AtomicGraph) -> Iterator[_Structure]:
    """Give the structures of a graph, one by one."""
    ends = torch.bincount(graph.batch, minlength=graph.n_structures).cumsum(0).cpu().numpy()
    numbers, positions = (
        np.split(values.detach().cpu().numpy(), ends[:-1])
        for values in (graph.numbers, graph.positions)
    )
    cells, pbc = graph.cell.cpu().numpy(), graph.pbc.cpu().numpy()
    yield from map(_Structure, numbers, positions, cells, pbc)


def _evaluate(functional: str, structure: _Structure, derivatives: bool) -> _Part:
    """Evaluate one structure; not a number where atoms are at one point, which others tell of."""
    n_atoms = len(structure.numbers)
    part = _Part(*(np.full(shape, np.nan) for shape in ((n_atoms,), (n_atoms, 3), (1, 3, 3))))
    try:
        model, damping = _model(structure), _damping(functional)
    except RuntimeError:
        return part
    pairs = model.get_pairwise_dispersion(damping)["additive pairwise energy"]  # (N, N)
    part.energies[:] = pairs.sum(axis=1) * Hartree
    if derivatives:
        found = model.get_dispersion(damping, grad=True)
        part.forces[:] = found["gradient"] * (-Hartree / Bohr)
        part.strain_gradient[:] = found["virial"] * Hartree
    return part


def _model(structure: _Structure) -> "DispersionModel":
    """Make the library's model of a structure, in bohr.

    It folds atoms back into the cell along all directions, also those that are not periodic: there
    the cell has to hold all of them.
    """
    from dftd3.interface import DispersionModel

    numbers, positions, cell, pbc = structure
    if not pbc.any():
        return DispersionModel(numbers, positions / Bohr)
    cell = complete_cell(cell, pbc)
    within = positions @ np.linalg.inv(cell)[:, ~pbc]  # (N, number of those directions), in Å
    positions = positions + (_ROOM - within.min(axis=0)) @ cell[~pbc]
    cell[~pbc] *= (np.ptp(within, axis=0) + 2 * _ROOM)[:, None]
    return DispersionModel(numbers, positions / Bohr, cell / Bohr, pbc)


def _damping(functional: str) -> "RationalDampingParam":
    """Make the library's parameters; kept until Python ends they could not be freed."""
    from dftd3.interface import RationalDampingParam

    return RationalDampingParam(method=functional)
