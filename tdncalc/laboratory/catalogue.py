"""All products of the laboratory by name, grouped by the map that they compute."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from tdncalc.errors import OptionError
from tdncalc.laboratory.clebsch_gordan import DensePaths, E3NNPaths, SparsePaths, path_weights
from tdncalc.laboratory.fourier import GauntFourier
from tdncalc.laboratory.grid import GauntGrid
from tdncalc.laboratory.matrix import MatrixProduct
from tdncalc.laboratory.product import Product, ProductUnavailableError
from tdncalc.laboratory.shared import SharedCP, SharedMatrix, shared_e3nn, slices
from tdncalc.laboratory.so2 import SO2Paths, SO2Shared
from tdncalc.laboratory.tucker import Tucker
from tdncalc.nn.coupling import (
    EXACT_RANKS,
    PathSet,
    PathWeights,
    approximate_coupling,
    build_coupling,
    coupling_tensor,
    paper_rank,
)
from tdncalc.nn.decomposition import CPFactors

__all__ = ["CATALOGUE", "MAPS", "MAX_DEGREE", "Entry", "chosen_entries"]

MAX_DEGREE = 6

# What products of one group compute: only their times can be compared.
MAPS = {
    "paths": "every path has a weight of its own for each channel; rotations",
    "gaunt": "even paths, Gaunt weights, one tensor for all channels; rotations and reflections",
    "equal": "all paths, equal weights, one tensor for all channels; rotations",
    "matrix": "matrix product XY, all paths that it has; rotations",
    "matrix-even": "(XY + YX)/2, its even paths; rotations and reflections",
}


@dataclass(frozen=True)
class Entry:
    """A product that can be built.

    Attributes
    ----------
    name
        Of the product.
    map_name
        What it computes, a key of ``MAPS``.
    exact
        Whether it computes that map to rounding.
    text
        How, in a few words.
    build
        From the largest degree and the channels of x; raises ProductUnavailableError.
    """

    name: str
    map_name: str
    exact: bool
    text: str
    build: Callable[[int, int], Product]


def chosen_entries(names: Sequence[str]) -> list[Entry]:
    """Return the products of these names or groups, all if none is given.

    Raises
    ------
    OptionError
        A name is neither a product nor a group.
    """
    known = {entry.name for entry in CATALOGUE} | set(MAPS)
    for name in names:
        if name not in known:
            products = ", ".join(entry.name for entry in CATALOGUE)
            raise OptionError(
                f"product {name!r} is not known; allowed: {products}, or a group: {', '.join(MAPS)}"
            )
    return [e for e in CATALOGUE if not names or {e.name, e.map_name} & set(names)]


def _gaunt(l_max: int) -> Tensor:
    return coupling_tensor(l_max)


def _equal(l_max: int) -> Tensor:
    return coupling_tensor(l_max, paths="SO3", weights="equal")


@lru_cache(maxsize=32)
def _exact_factors(l_max: int, paths: PathSet) -> CPFactors:
    weights: PathWeights = "gaunt" if paths == "O3" else "equal"
    return build_coupling(l_max, paths=paths, weights=weights).factors


def _exact_cp(l_max: int) -> Product:
    if l_max not in EXACT_RANKS["O3", "gaunt"]:
        raise ProductUnavailableError(f"not defined: no exact rank is known at l_max {l_max}")
    return SharedCP(_gaunt(l_max), _exact_factors(l_max, "O3"))


def _full_cp(l_max: int) -> Product:
    """Return the lowest exact rank that is known, at high degrees a term for each pair (i, j)."""
    if l_max in EXACT_RANKS["SO3", "equal"]:
        return SharedCP(_equal(l_max), _exact_factors(l_max, "SO3"))
    return SharedCP(_equal(l_max), slices(_equal(l_max)))


def _approximate_cp(l_max: int, rank: int) -> Product:
    return SharedCP(_equal(l_max), approximate_coupling(l_max, rank).factors)


def _truncated_tucker(l_max: int) -> Product:
    return Tucker(_gaunt(l_max), math.ceil(0.75 * (l_max + 1) ** 2))


CATALOGUE = (
    Entry("cg-e3nn", "paths", True, "e3nn TensorProduct in its own layout",
          lambda n, c: E3NNPaths(n, path_weights(n, c))),
    Entry("cg-dense", "paths", True, "one matrix per edge and l1",
          lambda n, c: DensePaths(n, path_weights(n, c))),
    Entry("cg-sparse", "paths", True, "gather, multiply, scatter the nonzero entries",
          lambda n, c: SparsePaths(n, path_weights(n, c))),
    Entry("cg-so2", "paths", True, "in the frame of the edge, as eSCN",
          lambda n, c: SO2Paths(n, path_weights(n, c))),
    Entry("gaunt-e3nn", "gaunt", True, "e3nn TensorProduct in its own layout",
          lambda n, c: shared_e3nn(_gaunt(n), c)),
    Entry("gaunt-dense", "gaunt", True, "one matrix per edge",
          lambda n, c: SharedMatrix(_gaunt(n))),
    Entry("gaunt-cp", "gaunt", True, "CP factors of the lowest exact rank known",
          lambda n, c: _exact_cp(n)),
    Entry("gaunt-tucker-full", "gaunt", True, "Tucker factors of full rank",
          lambda n, c: Tucker(_gaunt(n), (n + 1) ** 2)),
    Entry("gaunt-tucker", "gaunt", False, "Tucker factors, 3/4 of the components",
          lambda n, c: _truncated_tucker(n)),
    Entry("gaunt-fourier", "gaunt", True, "2D Fourier series by FFT",
          lambda n, c: GauntFourier(n)),
    Entry("gaunt-grid", "gaunt", True, "values on a spherical grid",
          lambda n, c: GauntGrid(n)),
    Entry("gaunt-so2", "gaunt", True, "in the frame of the edge, as eSCN",
          lambda n, c: SO2Shared(_gaunt(n))),
    Entry("equal-e3nn", "equal", True, "e3nn TensorProduct in its own layout",
          lambda n, c: shared_e3nn(_equal(n), c)),
    Entry("equal-dense", "equal", True, "one matrix per edge",
          lambda n, c: SharedMatrix(_equal(n))),
    Entry("equal-cp-full", "equal", True, "CP factors of full rank",
          lambda n, c: _full_cp(n)),
    Entry("equal-cp-quadratic", "equal", False, "CP factors of rank 7 L², as TDN",
          lambda n, c: _approximate_cp(n, paper_rank(n))),
    Entry("equal-cp-linear", "equal", False, "CP factors of rank 7 L",
          lambda n, c: _approximate_cp(n, 7 * n)),
    Entry("matrix", "matrix", True, "spherical matrices, XY",
          lambda n, c: MatrixProduct(n, symmetric=False)),
    Entry("matrix-symmetric", "matrix-even", True, "spherical matrices, (XY + YX)/2, as TensorNet",
          lambda n, c: MatrixProduct(n, symmetric=True)),
)  # fmt: skip
