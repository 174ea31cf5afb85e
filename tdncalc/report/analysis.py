"""What structures do over time: pair distances, displacement, distance from a start."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tdncalc.report.run import Floats
from tdncalc.structures.checks import complete_cell

Ints: TypeAlias = NDArray[np.int64]

_ITSELF = 1e-6  # Å; an atom is no neighbor of itself


@dataclass(frozen=True)
class PairDistances:
    """How far atoms of two elements are from each other.

    Attributes
    ----------
    pair
        The elements, ``O–H``.
    r
        Middles of the bins, Å, (bins,).
    values
        With three periodic directions the radial distribution g(r), which is 1 for atoms placed at
        random; otherwise neighbors per atom of the first element and Å.
    """

    pair: str
    r: Floats
    values: Floats


def pair_distances(frames: list[Atoms], r_max: float, n_bins: int = 150) -> list[PairDistances]:
    """Count the distances of every pair of elements, with all periodic images.

    g_ab(r) = n_ab(r) V / (N_a N_b v(r)) with n_ab the directed pairs in a shell of volume v,
    averaged over the frames (Allen & Tildesley, *Computer Simulation of Liquids*, section 2.6).

    Parameters
    ----------
    frames
        Of the same atoms.
    r_max
        Å.
    n_bins
        Shells of equal thickness.
    """
    edges = np.linspace(0.0, r_max, n_bins + 1)
    edges[0] = _ITSELF
    symbols = np.array(frames[0].get_chemical_symbols())
    groups = {str(symbol): np.flatnonzero(symbols == symbol) for symbol in sorted(set(symbols))}
    result = []
    for a, b in itertools.combinations_with_replacement(groups, 2):
        values = np.mean([_density(atoms, groups[a], groups[b], edges) for atoms in frames], axis=0)
        if values.any():
            middles = (edges[1:] + edges[:-1]) / 2
            result.append(PairDistances(f"{a}–{b}", middles, values))
    return result


def _density(atoms: Atoms, a: Ints, b: Ints, edges: Floats) -> Floats:
    """Return g(r), or neighbors per atom and Å, of one frame, (bins,)."""
    here = wrapped(atoms.positions, complete_cell(atoms.cell.array, atoms.pbc), atoms.pbc)
    counts = cKDTree(here[a]).count_neighbors(cKDTree(images(atoms, here[b], edges[-1])), edges)
    pairs = np.diff(np.asarray(counts, dtype=float))
    if atoms.pbc.all():
        shells = 4 / 3 * np.pi * np.diff(edges**3)
        return np.asarray(pairs * atoms.get_volume() / (len(a) * len(b) * shells))
    return np.asarray(pairs / (len(a) * np.diff(edges)))


def images(atoms: Atoms, points: Floats, reach: float) -> Floats:
    """Return points in the cell and every periodic image within `reach` of the cell, (M, 3)."""
    periodic = np.asarray(atoms.pbc, dtype=bool)
    if not periodic.any():
        return points
    cell = complete_cell(atoms.cell.array, periodic)
    inverse = np.linalg.inv(cell)
    margins = np.where(periodic, reach * np.linalg.norm(inverse, axis=0), 0.0)  # in cell vectors
    ranges = [range(-n, n + 1) for n in np.ceil(margins).astype(int)]
    shifts = np.array(list(itertools.product(*ranges)), dtype=float)  # (S, 3)
    scaled = (points @ inverse)[None] + shifts[:, None]  # (S, N, 3)
    near = ((scaled >= -margins) & (scaled <= 1 + margins) | ~periodic).all(axis=-1)
    return np.asarray(scaled[near] @ cell)


def wrapped(positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """Return positions (N, 3) moved into the cell along the periodic directions."""
    if not pbc.any():
        return positions
    whole = _completed(cell)
    scaled = positions @ np.linalg.inv(whole)
    return np.asarray((scaled - np.where(pbc, np.floor(scaled), 0.0)) @ whole)


def unwrapped(
    frames: Iterable[tuple[Floats, Floats]], pbc: NDArray[np.bool_], kept: Iterable[int]
) -> Floats:
    """Follow atoms through the boundaries of a cell that may change, one frame after another.

    r(t+1) = r(t) + the shortest image of (s(t+1) − s(t)) h(t+1), s being the positions in units of
    the cell h: what p/m moves them, without the flow of the whole with its cell. Differences of s h
    would take what the cell does far from the origin, and those of positions wrapped into the cell
    (von Bülow, Bullerjahn and Hummer, J. Chem. Phys. 153, 021101 (2020)) what it has done between
    two crossings of a face, so that a crystal would seem to diffuse. An atom must move less than
    half a cell between two frames.

    Parameters
    ----------
    frames
        Positions (N, 3) in Å, wrapped or not, and cells (3, 3) in Å, rows are vectors.
    pbc
        (3,).
    kept
        Numbers of the frames to give.

    Returns
    -------
    ndarray
        Positions of the frames that are kept, (F, N, 3), in the order of the trajectory.
    """
    wanted, result = set(kept), []
    before = path = upright = np.empty((0, 3))
    for number, (positions, cell) in enumerate(frames):
        if number == 0:
            path, upright = wrapped(positions, cell, pbc), complete_cell(cell, pbc)
        whole = np.where(pbc[:, None], cell, upright)
        scaled = positions @ np.linalg.inv(whole)
        if number:
            path = path + minimum_image((scaled - before) @ whole, cell, pbc)
        before = scaled
        if number in wanted:
            result.append(path)
    return np.array(result)


def minimum_image(vectors: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """Return the shortest periodic image of each vector (N, 3), in a cell however skewed."""
    # upright to the periodic ones the others have no part in which image is nearest
    whole, _ = minkowski_reduce(_completed(np.where(pbc[:, None], cell, 0.0)), pbc)
    scaled = vectors @ np.linalg.inv(whole)
    scaled -= np.where(pbc, np.round(scaled), 0.0)
    images = scaled @ whole
    # a vector below half of the shortest of the lattice has no shorter image
    half = np.linalg.norm(whole[pbc], axis=1).min(initial=math.inf) / 2
    far = np.flatnonzero((images**2).sum(axis=1) >= half**2)
    ranges = [(-1, 0, 1) if periodic else (0,) for periodic in pbc]
    shifts = np.array(list(itertools.product(*ranges)), dtype=float)  # (S, 3)
    candidates = (scaled[far, None] + shifts) @ whole  # (far, S, 3)
    nearest = np.argmin((candidates**2).sum(axis=-1), axis=1)
    images[far] = candidates[np.arange(len(far)), nearest]
    return np.asarray(images)


def squared_displacements(positions: Floats) -> Floats:
    """Return the squared displacement of each atom against the time between frames, (F, N) in Å².

    Averaged over every pair of frames that far apart. The sums of products are a correlation, done
    by Fourier transform (Calandrini et al., Collection SFN 12, 201 (2011), 4.2).

    Parameters
    ----------
    positions
        (F, N, 3), followed through periodic boundaries, at equal intervals.
    """
    n = len(positions)
    positions = positions - positions.mean(axis=0)  # differences of large squares lose digits
    squares = (positions**2).sum(axis=-1)  # (F, N)
    transform = np.fft.rfft(positions, n=2 * n, axis=0)
    products = np.fft.irfft(np.abs(transform) ** 2, n=2 * n, axis=0)[:n].sum(axis=-1)
    zero = np.zeros_like(squares[:1])
    lost = np.cumsum(np.concatenate([zero, squares[:-1] + squares[:0:-1]]), axis=0)
    both = 2 * squares.sum(axis=0) - lost  # sums over the pairs of |r(t)|² + |r(t+lag)|²
    pairs = np.arange(n, 0, -1)[:, None]
    return np.asarray(((both - 2 * products) / pairs).clip(min=0.0))


def without_drift(positions: Floats, masses: Floats) -> Floats:
    """Return positions (F, N, 3) with the center of mass where it was in the first frame."""
    centers = np.einsum("fnx,n->fx", positions, masses) / masses.sum()
    return np.asarray(positions - (centers - centers[:1])[:, None])


def superposed(moving: Floats, fixed: Floats) -> Floats:
    """Return `moving` (N, 3) turned and shifted onto `fixed`, mirror images excluded.

    W. Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    a, b = moving - moving.mean(axis=0), fixed - fixed.mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return np.asarray(a @ u @ vt + fixed.mean(axis=0))


def rmsd(a: Floats, b: Floats) -> float:
    """Return the root mean squared distance of the atoms of (N, 3) and (N, 3) in Å."""
    return float(np.sqrt(((a - b) ** 2).sum(axis=-1).mean()))


def laid_over(atoms: Atoms, reference: Atoms) -> Floats | None:
    """Return the positions (N, 3) of `atoms` laid over a reference as well as can be.

    A molecule is turned and shifted; periodic structures keep their axes, each atom goes to the
    image nearest to the reference's, and the mean displacement is taken away. None if they are not
    the same atoms in the same order, or not both periodic alike.
    """
    same = np.array_equal(atoms.numbers, reference.numbers)
    if not (same and len(atoms) and np.array_equal(atoms.pbc, reference.pbc)):
        return None
    if not atoms.pbc.any():
        return superposed(atoms.positions, reference.positions)
    cells = [complete_cell(one.cell.array, one.pbc) for one in (atoms, reference)]
    # as displaced as in a cell of the same shape
    there = atoms.positions @ np.linalg.inv(cells[0]) @ cells[1]
    moved = minimum_image(there - reference.positions, reference.cell.array, reference.pbc)
    moved = minimum_image(moved - moved[0], reference.cell.array, reference.pbc)
    return np.asarray(reference.positions + moved - moved.mean(axis=0))


def _completed(cell: Floats) -> Floats:
    from ase.geometry import complete_cell

    return np.asarray(complete_cell(cell))
