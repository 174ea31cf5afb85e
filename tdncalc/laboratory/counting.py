"""What a product can express: its paths and its free parameters (Xie et al., arXiv:2506.13523)."""

import torch

from tdncalc.laboratory.clebsch_gordan import WeightedPaths
from tdncalc.laboratory.paths import Path, all_paths, path_coefficients
from tdncalc.laboratory.product import Product

__all__ = ["expressivity", "interactions", "output_irreps"]


def interactions(product: Product) -> list[Path]:
    """Return the couplings (l1, l2) -> l3 that exist at all, the interactability of a product."""
    tensor = product.definition
    coefficients = path_coefficients(tensor if tensor.dim() == 3 else tensor[..., 0])
    return [path for path, value in coefficients.items() if abs(value) > 1e-9]


def expressivity(product: Product) -> int:
    r"""Return how many dimensions the maps that a product can be made into have.

    They are :math:`B(x, y) = w_3 \cdot T(w_1 \cdot x, w_2 \cdot y)`, where the linear layers w
    have one weight per degree, 3 (L+1) in all, since each operand has every degree once. They
    multiply the coefficient of a path by :math:`w_3(l_3)\, w_1(l_1)\, w_2(l_2)`: in logarithms a
    linear map, whose rank is the dimension. 3L+1 where all degrees hang together, as for the Gaunt
    product; the number of paths where each has a weight of its own.
    """
    paths = interactions(product)
    if isinstance(product, WeightedPaths) and not product.fixed:
        return len(paths)
    levels = product.l_max + 1
    places = torch.tensor(paths) + levels * torch.arange(3)
    incidence = torch.zeros(len(paths), 3 * levels, dtype=torch.float64)
    return int(torch.linalg.matrix_rank(incidence.scatter(1, places, 1.0)))


def output_irreps(l_max: int, *, gaunt: bool) -> int:
    """Return how many irreps a product of all degrees up to L has, untruncated, up to 2L.

    Both operands have each degree once with natural parity (−1)^l, and so have the results that are
    counted: paths with l1 + l2 + l3 even. The Clebsch-Gordan product has one irrep for each,
    14, 55 and 204 at L = 2, 4 and 7; the Gaunt product adds those of the same l3, which leaves
    2L + 1: 5, 9 and 15.
    """
    paths = all_paths(l_max, 2 * l_max, even=True)
    return len({l3 for _, _, l3 in paths}) if gaunt else len(paths)
