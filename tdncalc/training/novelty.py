r"""Fit the novelty of a model to its training set.

Features x of the atoms of an element, in the basis of their principal components and scaled to unit
variance, are y. The force error of an atom is taken for normally distributed with the variance

.. math:: s = c_0 + \sum_k c_k y_k^2,\quad c ≥ 0,

whose weights are the most likely ones for the errors that the model makes on its training set. This
is the Mahalanobis distance with a weight on each axis: it grows in every direction, and fastest in
those that have cost accuracy. The maximum of the likelihood is that of Itakura and Saito's
divergence, found by multiplicative steps (C. Févotte and J. Idier, Neural Comput. 23, 2421 (2011)).
A random projection onto fewer axes keeps distances (W. B. Johnson and J. Lindenstrauss, 1984).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ase.data
import numpy as np
import torch
from numpy.typing import NDArray

from tdncalc.batches import backing_off, edge_budget, in_batches
from tdncalc.errors import OptionError
from tdncalc.geometry.graph import AtomicGraph
from tdncalc.model_warnings import NOVELTY_QUANTILE
from tdncalc.novelty import RANK, Novelty
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.frames import Floats, Frames

__all__ = ["fit_novelty"]

_OF_STRUCTURES = 0.9  # of the set's mean size have no atom above 1, if atoms are unlike each other
_OF_AN_ELEMENT = 0.99  # and at least there among those of each element
_STRUCTURES = 40_000
_ATOMS = 20_000  # of an element that are kept for the fit
_STEPS = 60
_FLAT = 1e-6  # of the largest variance: rounding in float32 hides smaller ones
_ROUNDED = 1e-10  # of the mean square of the features: a smaller variance is rounding
_TINY = 1e-8  # (eV/Å)²
_FEWEST = 2  # atoms of an element that have a spread
_ABSENT = 1000.0  # the novelty of an element with fewer


@dataclass(frozen=True)
class _Sample:
    """Atoms of one element.

    Attributes
    ----------
    features
        (n, F) float64.
    squares
        Squared error of a force component, the mean of three, (n,) in (eV/Å)².
    weight
        How many atoms of the data each stands for.
    """

    features: Floats
    squares: Floats
    weight: float


@dataclass(frozen=True)
class _Shape:
    """The distance of one element, in eV/Å.

    Attributes
    ----------
    axes
        Of the features from the centre, (F, RANK).
    centre
        (F,).
    constant
        c₀, (eV/Å)²; None where the data have too few atoms of the element.
    """

    axes: Floats
    centre: Floats
    constant: float | None

    def distances(self, features: Floats) -> Floats:
        """Return the distances of atoms (n, F), (n,); none of an element that is not known."""
        if self.constant is None:
            return np.empty(0)
        squares = (((features - self.centre) @ self.axes) ** 2).sum(1)
        return np.asarray(np.sqrt(squares + self.constant))


def fit_novelty(
    potential: Potential,
    frames: Frames,
    *,
    limit: int = _STRUCTURES,
    observer: Callable[[int, int], None] | None = None,
) -> tuple[Novelty, dict[str, Any]]:
    """Fit the novelty of a model to the structures that it was trained on.

    Parameters
    ----------
    potential
        The model.
    frames
        Its training set.
    limit
        Use at most so many structures, evenly spaced.
    observer
        Called with the structures done and in all.

    Returns
    -------
    Novelty, dict
        The novelty, and what its card says: quantile, structures and atoms, and the force error in
        eV/Å that a novelty of 1 stands for.

    Raises
    ------
    OptionError
        The model is no default network.
    """
    if not isinstance(potential.network, TDN):
        raise OptionError(
            f"model {potential.name!r} is a published network; only the default network has a "
            "novelty"
        )
    frames = frames.evenly(limit)
    samples = _collect(potential, frames, observer)
    shapes = [_shape(sample, seed) for seed, sample in enumerate(samples)]
    distances = [shape.distances(x.features) for shape, x in zip(shapes, samples, strict=True)]
    quantile = max(NOVELTY_QUANTILE, _OF_STRUCTURES ** (1 / frames.n_atoms().mean()))
    unit = _weighted_quantile(distances, [sample.weight for sample in samples], quantile)
    units = [float(np.quantile([unit, *d], _OF_AN_ELEMENT)) for d in distances]
    novelty = _joined(shapes, [max(unit, of_one) for of_one in units])
    return novelty, {
        "quantile": quantile,
        "structures": len(frames),
        "atoms": len(frames.numbers),
        "force_error_at_1_eV_per_A": unit,
    }


def _collect(
    potential: Potential, frames: Frames, observer: Callable[[int, int], None] | None
) -> list[_Sample]:
    """Evaluate the structures and keep some atoms of each element, in the model's order."""
    numbers = [ase.data.atomic_numbers[symbol] for symbol in potential.elements]
    chosen = _choose(frames, numbers)
    kept = np.concatenate(chosen)
    features, squares = _evaluate(
        potential, frames, np.isin(np.arange(len(frames.numbers)), kept), observer
    )
    place = np.searchsorted(np.sort(kept), kept)
    samples, start = [], 0
    for z, atoms in zip(numbers, chosen, strict=True):
        rows = place[start : start + len(atoms)]
        start += len(atoms)
        weight = float((frames.numbers == z).sum()) / max(1, len(atoms))
        samples.append(_Sample(features[rows].astype(np.float64), squares[rows], weight))
    return samples


def _choose(frames: Frames, numbers: list[int]) -> list[NDArray[np.int64]]:
    """Return the atoms of each element to keep: all, or as many as are enough, at random."""
    rng = np.random.default_rng(0)
    chosen = []
    for z in numbers:
        atoms = np.flatnonzero(frames.numbers == z)
        chosen.append(np.sort(rng.permutation(atoms)[:_ATOMS]))
    return chosen


def _evaluate(
    potential: Potential,
    frames: Frames,
    kept: NDArray[np.bool_],
    observer: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], Floats]:
    """Return the features (n, F) and mean squared force errors (n,) of the atoms to keep."""
    features, squares, done, first = [], [], 0, 0
    graphs = (potential.graph(frames.atoms(i), f"structure {i}") for i in range(len(frames)))
    for part in in_batches(graphs, edge_budget(potential.device, potential.dtype)):
        for x, forces in backing_off(lambda graph: [_compute(potential, graph)], part):
            atoms = slice(first, first + len(x))
            wanted = kept[atoms]
            features.append(x[wanted])
            errors = forces[wanted] - frames.forces[atoms][wanted]
            squares.append((errors**2).mean(1) + _TINY)
            first = atoms.stop
        done += len(part)
        if observer:
            observer(done, len(frames))
    return np.concatenate(features), np.concatenate(squares)


def _compute(potential: Potential, graph: AtomicGraph) -> tuple[NDArray[np.float32], Floats]:
    results = potential.compute(graph, descriptors=True)
    assert results.forces is not None
    assert results.descriptors is not None
    return results.descriptors.float().cpu().numpy(), results.forces.cpu().numpy()


def _shape(sample: _Sample, seed: int) -> _Shape:
    """Learn the distance of an element."""
    n_atoms, n_features = sample.features.shape
    if n_atoms < _FEWEST:
        return _Shape(np.zeros((n_features, RANK)), np.zeros(n_features), None)
    centre = sample.features.mean(0)
    variance, vectors = np.linalg.eigh(np.cov(sample.features.T))
    square = (sample.features**2).mean()
    largest = max(variance[-1], _FLAT * square, _TINY)  # equal ones have none
    whiten = vectors / np.sqrt(variance.clip(0) + max(_FLAT * largest, _ROUNDED * square))
    squares = ((sample.features - centre) @ whiten) ** 2
    weights = _likeliest(squares * (variance > _ROUNDED * square), sample.squares)
    axes = _reduced(whiten * np.sqrt(weights[:-1]), seed)
    return _Shape(axes, centre, float(weights[-1]))


def _likeliest(squares: Floats, errors: Floats) -> Floats:
    """Return the weights (F + 1,) of squared coordinates (n, F) and of 1 in the variance (n,).

    Of a coordinate that is 0 in all of them the errors tell nothing: it keeps its first weight.
    """
    terms = np.concatenate([squares, np.ones((len(squares), 1))], axis=1)
    weights = np.full(terms.shape[1], errors.mean() / terms.shape[1])
    for _ in range(_STEPS):
        variance = terms @ weights
        found, expected = (errors / variance**2) @ terms, (1 / variance) @ terms
        ones = np.ones_like(weights)
        weights = weights * np.sqrt(np.divide(found, expected, out=ones, where=expected > 0))
    return np.asarray(weights)


def _reduced(axes: Floats, seed: int) -> Floats:
    """Return RANK axes that keep the lengths of vectors, from (F, F) to (F, RANK)."""
    size = len(axes)
    if size <= RANK:
        return np.pad(axes, ((0, 0), (0, RANK - size)))
    mixed, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return np.asarray(axes @ mixed[:, :RANK] * np.sqrt(size / RANK))


def _weighted_quantile(values: list[Floats], weights: list[float], quantile: float) -> float:
    """Return the quantile of values of which those in a list have a weight each; 1 of none."""
    flat = np.concatenate(values)
    if not len(flat):  # no element has a spread, all novelties are that of an absent one
        return 1.0
    weight = np.repeat(weights, [len(v) for v in values])
    order = np.argsort(flat)
    below = np.cumsum(weight[order]) / weight.sum()
    return float(flat[order][np.searchsorted(below, quantile).clip(max=len(flat) - 1)])


def _joined(shapes: list[_Shape], units: list[float]) -> Novelty:
    """Put the distances of the elements together, each in its unit in eV/Å."""
    axes = [shape.axes / unit for shape, unit in zip(shapes, units, strict=True)]
    offsets = [shape.centre @ a for shape, a in zip(shapes, axes, strict=True)]
    floors = [
        _ABSENT**2 if shape.constant is None else shape.constant / unit**2
        for shape, unit in zip(shapes, units, strict=True)
    ]
    parts = (np.stack(axes), np.stack(offsets), np.array(floors))
    return Novelty(*(torch.from_numpy(part).float() for part in parts))
