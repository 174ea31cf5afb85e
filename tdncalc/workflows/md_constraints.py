"""Constraints in molecular dynamics: which have a temperature, and what they leave free."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import (
    FixBondLengths,
    FixCom,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    Hookean,
)
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tdncalc.errors import OptionError
from tdncalc.workflows.constraints import OF_SINGLE_ATOMS, require_separate

# Those that project positions and velocities alike and count what they remove. ASE's others (of
# symmetry, angles, modes, parameters or external forces) do not.
_UNDERSTOOD = (*OF_SINGLE_ATOMS, FixBondLengths, FixCom, FixLinearTriatomic, Hookean)


def require_understood(atoms: Atoms) -> None:
    """Refuse constraints under which velocities or their temperature would be wrong.

    Raises
    ------
    OptionError
        Names the constraint, or two that act on the same atom.
    """
    require_separate(atoms)
    for constraint in atoms.constraints:
        name = type(constraint).__name__
        # ASE holds the center of some atoms by moving all, but stills the momenta of these alone.
        if not isinstance(constraint, _UNDERSTOOD) or isinstance(constraint, FixSubsetCom):
            allowed = ", ".join(kind.__name__ for kind in _UNDERSTOOD)
            raise OptionError(
                f"the constraint {name} has no temperature in molecular dynamics; drop it, or "
                f"take one of {allowed}"
            )
        if isinstance(constraint, FixScaled) and _leans(constraint, atoms):
            raise OptionError(
                "the constraint FixScaled holds directions of the cell that are not orthogonal to "
                "the free ones; take FixedPlane or FixedLine"
            )


def removed(atoms: Atoms) -> int:
    """Return how many momenta the constraints take away, those that several hold counted once."""
    single = [c for c in atoms.constraints if isinstance(c, OF_SINGLE_ATOMS)]
    directions = np.repeat(np.eye(3)[:, None], len(atoms), axis=1)  # (3, N, 3)
    for momenta in directions:
        for constraint in single:
            constraint.adjust_momenta(atoms, momenta)
    free = np.linalg.matrix_rank(directions.transpose(1, 0, 2), tol=1e-6)  # (N,)
    count = 3 * len(atoms) - int(free.sum())
    for constraint in atoms.constraints:
        if isinstance(constraint, FixBondLengths):
            pairs = np.asarray(constraint.pairs)
            count += _independent(pairs[free[pairs].any(axis=1)])
        elif not isinstance(constraint, OF_SINGLE_ATOMS):
            count += int(constraint.get_removed_dof(atoms))
    return count


def _independent(pairs: np.ndarray) -> int:
    """Return how many lengths of bonds (P, 2) do not follow from others.

    Of the ten between five atoms one does. Those of an atom that has three at most do not, so that
    only what is left without such atoms is looked at.
    """
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    count = 0
    while (loose := (np.bincount(pairs.ravel(), minlength=1) <= 3)[pairs].any(axis=1)).any():
        count += int(loose.sum())
        pairs = pairs[~loose]
    size = pairs.max(initial=-1) + 1
    links = coo_array((np.ones(len(pairs)), pairs.T), (size, size))
    owner = connected_components(links)[1][pairs[:, 0]] if size else pairs[:, 0]
    return count + sum(_rank(pairs[owner == one]) for one in np.unique(owner))


def _rank(pairs: np.ndarray) -> int:
    """Return how many lengths of bonds (P, 2) can change by themselves, at places without order."""
    atoms, flat = np.unique(pairs, return_inverse=True)
    ends, bonds = flat.reshape(-1, 2), np.arange(len(pairs))
    places = np.random.default_rng(0).normal(size=(len(atoms), 3))
    vectors = places[ends[:, 0]] - places[ends[:, 1]]
    gradients = np.zeros((len(pairs), len(atoms), 3))
    gradients[bonds, ends[:, 0]], gradients[bonds, ends[:, 1]] = vectors, -vectors
    return int(np.linalg.matrix_rank(gradients.reshape(len(pairs), -1)))


def free_axes(atoms: Atoms) -> np.ndarray:
    """Return along which of x, y and z (3,) several atoms move freely as a whole."""
    # A Hookean spring to a point or plane has no pair of atoms.
    springs = (c for c in atoms.constraints if isinstance(c, Hookean))
    if len(atoms) < 2 or not all(hasattr(spring, "indices") for spring in springs):
        return np.zeros(3, bool)
    return np.array([_passes(atoms, axis) for axis in np.eye(3)])


def _passes(atoms: Atoms, direction: np.ndarray) -> bool:
    """Tell whether constraints leave a common velocity alone."""
    whole = atoms.get_masses()[:, None] * direction
    momenta = whole.copy()
    for constraint in atoms.constraints:
        constraint.adjust_momenta(atoms, momenta)
    return bool(np.allclose(momenta, whole))


def _leans(constraint: FixScaled, atoms: Atoms) -> bool:
    """Tell whether fixed directions of the cell are oblique to free ones."""
    cell, fixed = atoms.cell.array, constraint.mask
    return not np.allclose(cell[fixed] @ cell[~fixed].T, 0, atol=1e-6)
