"""Stretches, bends and torsions of structures, how stiff they are, and how positions move them.

The stiffness is a function of distances alone, so that no bonds and no atom types are needed: R.
Lindh, A. Bernhardsson, G. Karlström and P.-Å. Malmqvist, Chem. Phys. Lett. 241, 423 (1995). With
ρ = exp(α (r₀² - r²)) of each bond, α and r₀ by the rows of the periodic table, a stretch has the
force constant 0.45 ρ (Hartree/Bohr²), a bend 0.15 ρρ' and a torsion 0.005 ρρ'ρ'' (Hartree). Here
torsions are four times as stiff, which measures better, and the products of ρ are shifted so that
they vanish at a small value, not at infinity, and none appears with a jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.sparse import coo_array, csr_array

from tdncalc.workflows.bonds import LEAST, Bonds, Frame, Ints, find_bonds
from tdncalc.workflows.rows import Floats

_STRETCH = 0.45 * units.Hartree / units.Bohr**2  # eV/Å²
_BEND = 0.15 * units.Hartree  # eV
_TORSION = 0.02 * units.Hartree  # eV
_LEAST_BEND = 0.05  # of products of ρ
# Cosines between which a bend changes from one angle to two components that a line has.
_BENT, _LINEAR = -0.9, -0.98


@dataclass(frozen=True)
class _Coordinates:
    """M internal coordinates: bonds (M, V), gradients by their vectors (M, V, 3), stiffness."""

    bonds: Ints
    gradients: Floats
    stiffness: Floats


def internals(frames: Sequence[Frame]) -> tuple[csr_array, Floats]:
    """Return how rows of coordinates move the internal ones, and how stiff these are.

    Parameters
    ----------
    frames
        Structures; their rows follow each other.

    Returns
    -------
    gradients
        (M, 3 R), of each internal coordinate by the R rows.
    stiffness
        (M,) in eV/Å² or eV.
    """
    bonds = find_bonds(frames)
    found = [_stretches(bonds), *_bends(bonds), _torsions(bonds)]
    counts = np.cumsum([0] + [len(part.bonds) for part in found])
    rows, columns, values = [], [], []
    for start, part in zip(counts, found, strict=False):
        for row, column, value in _entries(part, bonds, frames):
            rows.append(start + row)
            columns.append(column)
            values.append(value)
    shape = (counts[-1], 3 * sum(frame.n_rows for frame in frames))
    where = (np.concatenate(rows), np.concatenate(columns))
    gradients = coo_array((np.concatenate(values), where), shape).tocsr()
    return gradients, np.concatenate([part.stiffness for part in found])


def _stretches(bonds: Bonds) -> _Coordinates:
    # Of both directions of a pair, also of an atom and its image, each counts half.
    once = np.flatnonzero(bonds.i < bonds.j)
    images = np.flatnonzero(bonds.i == bonds.j)
    chosen = np.concatenate([once, images])
    share = np.repeat([1.0, 0.5], [len(once), len(images)])
    stiffness = share * _STRETCH * (bonds.rho[chosen] - LEAST)
    along = bonds.vectors[chosen] / bonds.lengths[chosen]
    return _Coordinates(chosen[:, None], along[:, None], stiffness)


def _bends(bonds: Bonds) -> list[_Coordinates]:
    """Return angles, and for those that are nearly straight the components of u + u' also.

    An angle of 180° has no gradient; the sum of the unit vectors to both neighbors has.
    """
    strong = np.flatnonzero(bonds.rho > _LEAST_BEND)
    a, b = (strong[one] for one in _pairs_within(bonds.i[strong]))
    weight = bonds.single[a] * bonds.single[b] - _LEAST_BEND
    a, b, weight = a[weight > 0], b[weight > 0], weight[weight > 0]
    lengths = bonds.lengths
    unit = bonds.vectors / lengths
    cosine = np.einsum("mx,mx->m", unit[a], unit[b])[:, None]
    sine = np.sqrt(np.maximum(1 - cosine**2, 1e-3))
    bent = np.clip((cosine[:, 0] - _LINEAR) / (_BENT - _LINEAR), 0, 1)
    by_a = (cosine * unit[a] - unit[b]) / (sine * lengths[a])
    by_b = (cosine * unit[b] - unit[a]) / (sine * lengths[b])
    pairs, stiffness = np.stack([a, b], axis=1), _BEND * weight
    found = [_Coordinates(pairs, np.stack([by_a, by_b], axis=1), bent * stiffness)]
    line = bent < 1
    for axis in np.eye(3) if line.any() else ():
        both = [(axis - unit[e] * unit[e, :] @ axis[:, None]) / lengths[e] for e in (a, b)]
        gradients = np.stack(both, axis=1)[line]
        found.append(_Coordinates(pairs[line], gradients, ((1 - bent) * stiffness)[line]))
    return found


def _torsions(bonds: Bonds) -> _Coordinates:
    """Return torsions k-i-j-l about each bond i-j; F, G, H of A. Blondel and M. Karplus.

    J. Comput. Chem. 17, 1132 (1996). A torsion with three atoms in a line has no gradient: its
    stiffness goes with the squared sines of both angles.
    """
    strong = np.flatnonzero(bonds.rho > _LEAST_BEND)
    i, j = bonds.i[strong], bonds.j[strong]
    first = np.searchsorted(i, np.arange(i.max(initial=-1) + 2))
    count = np.diff(first)
    middle = np.flatnonzero(i < j)
    total = count[i[middle]] * count[j[middle]]
    place = np.arange(total.sum()) - np.repeat(np.cumsum(total) - total, total)
    middle = np.repeat(middle, total)
    k = first[i[middle]] + place // np.maximum(count[j[middle]], 1)
    l = first[j[middle]] + place % np.maximum(count[j[middle]], 1)  # noqa: E741
    k, middle, l = strong[k], strong[middle], strong[l]  # noqa: E741
    weight = bonds.single[k] * bonds.single[middle] * bonds.single[l] - _LEAST_BEND
    ends = (bonds.j[k] != bonds.j[middle]) & (bonds.j[l] != bonds.i[middle])
    chosen = (weight > 0) & ends & (bonds.j[k] != bonds.j[l])
    k, middle, l = k[chosen], middle[chosen], l[chosen]  # noqa: E741
    return _about(bonds, np.stack([k, middle, l], axis=1), _TORSION * weight[chosen])


def _about(bonds: Bonds, chain: Ints, stiffness: Floats) -> _Coordinates:
    """Return the torsions of bonds (M, 3): from i to k, from i to j, and from j to l."""
    to_k, middle, to_l = (bonds.vectors[chain[:, place]] for place in range(3))
    a, b = np.cross(middle, to_k), np.cross(to_l, middle)
    k_long, length, l_long = (bonds.lengths[chain[:, place]] for place in range(3))
    a2, b2 = (np.einsum("mx,mx->m", v, v)[:, None] for v in (a, b))
    sines = a2 * b2 / (k_long * length**2 * l_long) ** 2
    a2, b2 = np.maximum(a2, 1e-6), np.maximum(b2, 1e-6)
    by_k, by_l = a * length / a2, b * length / b2
    by_middle = -(to_k * middle).sum(axis=1)[:, None] * a / (a2 * length)
    by_middle -= (to_l * middle).sum(axis=1)[:, None] * b / (b2 * length)
    gradients = np.stack([by_k, by_middle, by_l], axis=1)
    return _Coordinates(chain, gradients, stiffness * sines[:, 0])


def _pairs_within(groups: Ints) -> tuple[Ints, Ints]:
    """Return the places (P,) and (P,) of every two members of a group, given sorted groups."""
    after = np.searchsorted(groups, groups, side="right") - np.arange(len(groups)) - 1
    first = np.repeat(np.arange(len(groups)), after)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after)
    return first, first + 1 + offset


def _entries(
    part: _Coordinates, bonds: Bonds, frames: Sequence[Frame]
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Give places and values of the gradients by rows of coordinates; some places come twice."""
    which = np.repeat(np.arange(len(part.bonds)), 3)
    xyz = np.arange(3)
    for bond, gradient in zip(part.bonds.T, part.gradients.transpose(1, 0, 2), strict=True):
        for ends, sign in ((bonds.j, 1.0), (bonds.i, -1.0)):
            row = ends[bond]
            moves = sign * bonds.free[row, None]
            yield which, (3 * row[:, None] + xyz).ravel(), (moves * gradient).ravel()
    if frames[0].strain is not None:
        yield _by_strain(part, bonds, frames)


def _by_strain(
    part: _Coordinates, bonds: Bonds, frames: Sequence[Frame]
) -> tuple[Ints, Ints, Floats]:
    """Return the gradients by the strain U, with which bonds d change by U d."""
    counts = [frame.n_rows for frame in frames]
    owner = np.repeat(np.arange(len(frames)), counts)[bonds.i[part.bonds[:, 0]]]
    projectors = np.stack([frame.strain for frame in frames if frame.strain is not None])
    torque = np.einsum("mva,mvb->mab", part.gradients, bonds.vectors[part.bonds])
    values = np.einsum("mp,mpq->mq", torque.reshape(-1, 9), projectors[owner])
    columns = (3 * (np.cumsum(counts) - 3))[owner, None] + np.arange(9)
    return np.repeat(np.arange(len(owner)), 9), columns.ravel(), values.ravel()
