"""Atoms to hold fixed, from a word, and what constraints do to each other and to the stress."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    Hookean,
)
from ase.data import atomic_numbers

from tdncalc.errors import OptionError, StructureError

if TYPE_CHECKING:
    from ase.constraints import FixConstraint

# Each acts on every atom by itself.
OF_SINGLE_ATOMS = (FixAtoms, FixCartesian, FixScaled, FixedLine, FixedPlane)
# These move several atoms to keep what is between them.
_COUPLED = (FixBondLengths, FixLinearTriatomic, FixInternals)
# Their forces are no part of what a calculator gives as the stress.
_NOT_IN_STRESS = (*_COUPLED, ExternalForce, Hookean)
_REGION = re.compile(r"([xyz])\s*(<=|>=|<|>)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)$")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?$")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def parse_fix(spec: str, atoms: Atoms) -> FixAtoms:
    """Return the constraint that `spec` describes for `atoms`.

    Parameters
    ----------
    spec
        Indices from 0 with both ends of a range ("0-9,15"), elements ("Pt" or "Pt,O"), or a
        region in Å ("z<5").
    atoms
        The structure whose atoms are fixed.

    Raises
    ------
    OptionError
        `spec` is none of these, or no atom of `atoms` fits.
    """
    text = spec.strip()
    region = _REGION.match(text)
    if region is not None:
        axis, comparison, limit = region.groups()
        mask = _COMPARE[comparison](atoms.positions[:, "xyz".index(axis)], float(limit))
    else:
        mask = np.zeros(len(atoms), dtype=bool)
        for word in text.split(","):
            mask |= _chosen(word.strip(), spec, atoms)
    if not mask.any():
        raise OptionError(f"fix {spec!r}: no atom of the structure is there")
    return FixAtoms(indices=np.flatnonzero(mask))


def fix_atoms(atoms: Atoms, specs: Iterable[str]) -> None:
    """Hold the atoms fixed that each of `specs` describes, see :func:`parse_fix`, beside others."""
    fixed = [parse_fix(spec, atoms) for spec in specs]
    atoms.set_constraint([*atoms.constraints, *fixed])


def require_separate(atoms: Atoms) -> None:
    """Refuse constraints of which one would undo what the other has done.

    ASE applies them one after the other: what keeps a bond's length moves both of its ends, also
    one that is held, and what holds that end changes the length.

    Raises
    ------
    OptionError
        Names the two, and an atom that they share.
    """
    for one, other in itertools.combinations(atoms.constraints, 2):
        kinds = (type(one).__name__, type(other).__name__)
        coupled = [isinstance(constraint, _COUPLED) for constraint in (one, other)]
        centered = [isinstance(constraint, FixCom) for constraint in (one, other)]
        if not any(coupled + centered) or (any(centered) and any(coupled)):
            continue  # each atom by itself; or lengths, which leave the center of mass alone
        if shared := sorted(_held(one, atoms) & _held(other, atoms)):
            raise OptionError(
                f"the constraints {kinds[0]} and {kinds[1]} share atom {shared[0]}: applied one "
                "after the other, neither would be kept; drop one, or put both into one constraint"
            )


def _held(constraint: FixConstraint, atoms: Atoms) -> set[int]:
    """Return the atoms that a constraint acts on."""
    if isinstance(constraint, FixCom):
        return set(range(len(atoms)))
    if not hasattr(constraint, "get_indices"):
        return set()
    # A Hookean spring to a point or plane gives one index.
    return set(map(int, np.atleast_1d(constraint.get_indices())))


def not_in_stress(atoms: Atoms) -> str | None:
    """Return the kind of a constraint whose forces are missing from the stress, if there is one."""
    for constraint in atoms.constraints:
        if isinstance(constraint, _NOT_IN_STRESS):
            return type(constraint).__name__
    return None


def arranged(atoms: Atoms) -> list[FixConstraint]:
    """Return the constraints in an order in which single atoms that are held feel no force.

    FixInternals takes translation and rotation of the whole out of the forces, and so gives some
    back to atoms that were held before it. In a cell, which resists a rotation, they are held
    before it as well.
    """
    every = list(atoms.constraints)
    if not any(isinstance(constraint, FixInternals) for constraint in every):
        return every
    single = [constraint for constraint in every if isinstance(constraint, OF_SINGLE_ATOMS)]
    others = [constraint for constraint in every if constraint not in single]
    return [*single, *others, *single] if atoms.pbc.any() else [*others, *single]


def meet(atoms: Atoms) -> None:
    """Move atoms to where their constraints want them, such as bonds to the lengths asked for.

    Raises
    ------
    StructureError
        There is no such place near by.
    OptionError
        Two constraints are not separate.
    """
    if not atoms.constraints:
        return
    require_separate(atoms)
    with told_if_unmet():
        atoms.set_positions(atoms.get_positions())


@contextmanager
def told_if_unmet() -> Iterator[None]:
    """Turn what ASE says of constraints that cannot be met into a StructureError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if not gave_up(error):
            raise
        raise StructureError(
            f"its constraints cannot be met from where the atoms are ({error}); start from a "
            "structure that is nearer to them, or go there in steps"
        ) from error


def gave_up(error: ValueError | RuntimeError) -> bool:
    """Tell whether an error can be that of a constraint that finds no place for its atoms."""
    return isinstance(error, ValueError) or str(error) == "Did not converge"  # of FixBondLengths


def described(constraints: Sequence[FixConstraint]) -> str:
    """Return a text that is the same for the same constraints: what each is, and holds."""
    known = [c.todict() if hasattr(c, "todict") else type(c).__name__ for c in constraints]
    # What ASE leaves out, as it makes them of the first structure that it meets if none are given.
    lengths = [getattr(c, "bondlengths", None) for c in constraints]
    told = [np.asarray(one).tolist() for one in lengths if one is not None]
    return repr(known) + (f" of {told} Å" if told else "")


def _chosen(word: str, spec: str, atoms: Atoms) -> np.ndarray:
    """Return the mask (N,) of the atoms that one word of a list names."""
    if word in atomic_numbers and word != "X":
        return np.asarray(atoms.numbers == atomic_numbers[word])
    indices = _RANGE.match(word)
    if indices is None:
        raise OptionError(
            f"fix {spec!r}: {word!r} is neither atoms like '0-9,15', an element like 'Pt', nor a "
            "region like 'z<5'"
        )
    first = int(indices[1])
    last = int(indices[2] or first)
    if last < first:
        raise OptionError(f"fix {spec!r}: the range {word} runs backwards; write {last}-{first}")
    if last >= len(atoms):
        raise OptionError(
            f"fix {spec!r}: atoms {word} are not among 0-{len(atoms) - 1} of the structure"
        )
    every = np.arange(len(atoms))
    return np.asarray((every >= first) & (every <= last))
