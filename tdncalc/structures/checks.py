"""What every structure must be before anything is computed from it."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tdncalc.errors import StructureError

__all__ = [
    "SAME_POINT",
    "check",
    "check_apart",
    "check_elements",
    "check_finite",
    "check_repeat",
    "complete_cell",
]

SAME_POINT = 1e-3  # Å: no two atoms are this near
_REPEAT = 0.5  # Å: no crystal repeats itself within less
_FLAT = 1e-2  # Å: no crystal is this thin, whatever its cell vectors


def check(atoms: Atoms, label: str = "structure") -> None:
    """Make sure that an energy can be computed.

    Parameters
    ----------
    atoms
        Left as it is.
    label
        What the message calls the structure.

    Raises
    ------
    StructureError
        There are no atoms; a position or cell vector is not finite; the periodic cell vectors are
        linearly dependent, or so short that an atom lies on its own image; two atoms are at one
        point, perhaps across the boundary.
    """
    check_finite(atoms, label)
    check_repeat(atoms, label)
    check_apart(atoms, label)


def check_finite(atoms: Atoms, label: str = "structure") -> None:
    """Do what `check` does, except to look for atoms at one point."""
    if len(atoms) == 0:
        raise StructureError(f"{label}: has no atoms; give a structure with at least one")
    _check_finite(atoms, label)
    try:
        complete_cell(atoms.cell.array, atoms.pbc)
    except StructureError as error:
        raise StructureError(f"{label}: {error}") from None


def check_apart(atoms: Atoms, label: str = "structure") -> None:
    """Raise a StructureError if two atoms of a structure are at one point."""
    pair = _coincident(atoms.positions, complete_cell(atoms.cell.array, atoms.pbc), atoms.pbc)
    if pair is not None:
        first, second = (f"{chemical_symbols[atoms.numbers[i]]} (atom {i})" for i in pair)
        raise StructureError(f"{label}: {first} and {second} are at one point; remove one of them")


def check_elements(
    numbers: NDArray[np.int_], elements: Sequence[str], model: str, label: str
) -> None:
    """Make sure that a model knows every element.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(N,)``.
    elements
        Symbols of the elements that the model knows.
    model, label
        What the message calls the model and the structure.

    Raises
    ------
    StructureError
        An element is not among them; the message names its first atom.
    """
    known = np.zeros(len(chemical_symbols), dtype=np.bool_)
    known[[atomic_numbers[symbol] for symbol in elements]] = True
    if not known[numbers].all():
        atom = np.flatnonzero(~known[numbers])[0]
        raise StructureError(
            f"{label}: element {chemical_symbols[numbers[atom]]} (atom {atom}) is not in model "
            f"'{model}' ({' '.join(elements)}); see 'tdn models list'"
        )


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Replace the vectors of directions that are not periodic by unit vectors.

    Parameters
    ----------
    cell
        ``(3, 3)`` in Å, rows are vectors.
    pbc
        ``(3,)``, which of them are periodic.

    Returns
    -------
    ndarray
        ``(3, 3)``, never singular: what replaces a vector is orthogonal to all others.

    Raises
    ------
    StructureError
        The periodic vectors are linearly dependent; the message names no structure.
    """
    if not pbc.any():
        return np.eye(3)
    complete: NDArray[np.float64] = cell.copy()
    periodic = cell[pbc]
    _, lengths, directions = np.linalg.svd(periodic)
    if lengths[-1] < _FLAT:
        names = ", ".join(name for name, is_periodic in zip("abc", pbc, strict=True) if is_periodic)
        raise StructureError(
            f"the cell is periodic along {names} but has no extent there; "
            "give cell vectors that are not zero and not linearly dependent, or switch off pbc"
        )
    complete[~pbc] = directions[len(periodic) :]
    return complete


def _check_finite(atoms: Atoms, label: str) -> None:
    if not np.isfinite(atoms.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        symbol = chemical_symbols[atoms.numbers[atom]]
        raise StructureError(
            f"{label}: the position of {symbol} (atom {atom}) is NaN or infinite; correct it"
        )
    if not np.isfinite(atoms.cell.array).all():
        raise StructureError(f"{label}: a cell vector is NaN or infinite; correct it")


def check_repeat(atoms: Atoms, label: str = "structure") -> None:
    """Raise a StructureError if atoms lie on their own images."""
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) == 0 or np.linalg.svd(periodic, compute_uv=False)[-1] >= _REPEAT:
        return
    # A skewed cell has a small singular value as well; its shortest vector tells.
    complete = complete_cell(atoms.cell.array, atoms.pbc)
    reduced, _ = minkowski_reduce(complete, atoms.pbc)
    shortest = np.linalg.norm(reduced[atoms.pbc], axis=1).min()
    if shortest < _REPEAT:
        raise StructureError(
            f"{label}: the cell repeats after {shortest:.3g} Å, so that atoms lie on their own "
            "images; give cell vectors in Å"
        )


def _coincident(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Find two atoms at one point, on the torus that the periodic directions make."""
    inverse = np.linalg.inv(cell)
    coordinates = positions @ inverse  # (N, 3), a period is 1
    coordinates[:, pbc] %= 1.0
    coordinates[(coordinates == 1.0) & pbc] = 0.0  # what is left of a tiny negative number
    reach = SAME_POINT * np.linalg.norm(inverse, axis=0).max()
    tree = cKDTree(coordinates, boxsize=pbc.astype(float))
    pairs = tree.query_pairs(reach, p=np.inf, output_type="ndarray")  # (P, 2)
    difference = coordinates[pairs[:, 0]] - coordinates[pairs[:, 1]]
    difference -= np.round(difference) * pbc
    near = np.flatnonzero(np.linalg.norm(difference @ cell, axis=1) < SAME_POINT)
    if len(near) == 0:
        return None
    first, second = sorted(pairs[near].tolist())[0]
    return first, second
