"""C++ for one network: its sizes, and its coupling coefficients as unrolled statements."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from tdncalc.nn.spherical import degree_slice
from tdncalc.tdn import TDN

__all__ = ["coupling_header", "network_header", "scaled", "sizes_header"]

_ZERO = 1e-12

Term = tuple[int, int, int, float]


def sizes_header(network: TDN, *, training: bool = False) -> str:
    """Return the header of the network's sizes; in training hidden units fill vectors as well."""
    config = network.config
    sizes = {
        "L": config.l_max,
        "C": config.channels,
        "CE": config.edge_channels,
        "N_LAYERS": config.n_layers,
        "N_ELEMENTS": len(config.elements),
        "CORRELATION": config.correlation,
        "K": config.n_radial,
        "HR": config.hidden,
    }
    lines = [f"constexpr int {name} = {value};" for name, value in sizes.items()]
    # what the preprocessor chooses the length of vectors by
    divisor = math.gcd(config.channels, config.edge_channels, config.hidden if training else 0)
    return "\n".join(["#pragma once", f"#define TDN_CHANNELS {divisor}", *lines, ""])


def network_header(network: TDN) -> str:
    """Return the header of functions that know the coupling coefficients.

    ``harmonics`` and ``harmonics_back`` evaluate the spherical harmonics of unit vectors and their
    derivative; ``coupling_matrix``, ``couple``, ``couple_back`` and ``couple_back_harmonics`` the
    product of messages and harmonics; ``Product<degree>`` the products of features with themselves.
    """
    l_max = network.config.l_max
    tensor = network.coupling.tensor.double()
    functions = [
        *_harmonics(network.harmonics.l_max, tensor),
        *_edge_product(scaled(tensor, l_max, l_max)),
        "template <int OUT> struct Product;",
    ]
    for degree in sorted({0, l_max}):
        functions += _node_product(degree, scaled(tensor, l_max, degree))
    return "\n".join(["#pragma once", *functions, ""])


def coupling_header(tensor: Tensor) -> str:
    """Return the header of one edge product alone, of a tensor (D_in, D_edge, D_out)."""
    sizes = zip(("D_IN", "D_EDGE", "D_OUT"), tensor.shape, strict=True)
    lines = [f"constexpr int {name} = {value};" for name, value in sizes]
    return "\n".join(["#pragma once", *lines, *_edge_product(tensor), ""])


def scaled(tensor: Tensor, l_max: int, l_out: int) -> Tensor:
    """Return the tensor of a product (D, D, D_out), normalized as :class:`TensorProduct`'s."""
    size, size_out = (l_max + 1) ** 2, (l_out + 1) ** 2
    part = tensor[:size, :size, :size_out]
    return part * (size_out / part.square().sum()).sqrt()


def _terms(tensor: Tensor) -> Iterator[Term]:
    for i, j, k in (tensor.abs() > _ZERO).nonzero().tolist():
        yield i, j, k, float(tensor[i, j, k])


def _function(signature: str, lines: Iterable[str]) -> list[str]:
    """Return a function of vectors V or, where its signature says T, of any numbers."""
    template = ["template <class T>"] if "T*" in signature else []
    return [*template, f"INLINE void {signature} {{", *(f"    {line}" for line in lines), "}"]


def _sums(name: str, groups: dict[int, list[str]], size: int, assign: str = "=") -> list[str]:
    """Return one statement per component: the sum of its terms."""
    nothing = ["V{}"] if assign == "=" else []
    return [
        f"{name}[{k}] {assign} {' + '.join(groups.get(k) or nothing)};"
        for k in range(size)
        if groups.get(k) or nothing
    ]


def _harmonics(l_max: int, tensor: Tensor) -> list[str]:
    """Degree by degree from the one below, as :class:`SphericalHarmonics` does."""
    forward = ["y[0] = T{} + 1.0f;"]
    forward += [f"y[{1 + x}] = {3**0.5:.8e}f * u[{x}];" for x in range(3)]
    backward: list[str] = []
    for degree in range(2, l_max + 1):
        low, high = degree_slice(degree - 1).start, degree_slice(degree).start
        block = tensor[degree_slice(degree - 1), 1:4, degree_slice(degree)]
        block = block / block.square().sum((0, 1))
        groups: dict[int, list[str]] = defaultdict(list)
        steps: list[str] = []
        for i, j, k, value in _terms(block):
            factor = f"{value:.8e}f"
            groups[k].append(f"{factor} * y[{low + i}] * y[{1 + j}]")
            steps.append(f"b[{low + i}] += {factor} * b[{high + k}] * y[{1 + j}];")
            steps.append(f"b[{1 + j}] += {factor} * b[{high + k}] * y[{low + i}];")
        forward += [f"y[{high + k}] = {' + '.join(terms)};" for k, terms in groups.items()]
        backward = steps + backward
    backward += [f"u[{x}] = {3**0.5:.8e}f * b[{1 + x}];" for x in range(3)]
    return [
        *_function("harmonics(const T* u, T* y)", forward),
        *_function("harmonics_back(const V* y, V* b, V* u)", backward),
    ]


def _edge_product(tensor: Tensor) -> list[str]:
    """One matrix per edge, its entries that can differ from zero in a row."""
    size_in, _, size_out = tensor.shape
    entries: dict[tuple[int, int], list[str]] = defaultdict(list)
    by_harmonics: list[str] = []
    for i, j, k, value in _terms(tensor):
        entries[k, i].append(f"{value:.8e}f * y[{j}]")
    matrix = [f"t[{n}] = {' + '.join(terms)};" for n, terms in enumerate(entries.values())]
    rows: dict[int, list[str]] = defaultdict(list)
    columns: dict[int, list[str]] = defaultdict(list)
    for n, (k, i) in enumerate(entries):
        rows[k].append(f"fill(t[{n} * VL + e]) * x[{i}]")
        columns[i].append(f"fill(t[{n} * VL + e]) * z[{k}]")
    pairs: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for i, j, k, value in _terms(tensor):
        pairs[i, k].append((j, value))
    for (i, k), terms in pairs.items():
        body = " ".join(f"y[{j}] += {value:.8e}f * p;" for j, value in terms)
        by_harmonics.append(f"{{ const V p = x[{i}] * z[{k}]; {body} }}")
    return [
        f"constexpr int N_COUPLINGS = {len(entries)};",
        *_function("coupling_matrix(const V* y, V* t)", matrix),
        *_function("couple(const float* t, int e, const V* x, V* z)", _sums("z", rows, size_out)),
        *_function(
            "couple_back(const float* t, int e, const V* z, V* x)", _sums("x", columns, size_in)
        ),
        *_function("couple_back_harmonics(const V* z, const V* x, V* y)", by_harmonics),
    ]


def _node_product(degree: int, tensor: Tensor) -> list[str]:
    """X ∘ y and x ∘ x with their derivatives; a derivative is added to what is there."""
    square = torch.triu((tensor + tensor.transpose(0, 1)).permute(2, 0, 1))
    square = square - torch.diag_embed(torch.diagonal(square, dim1=1, dim2=2) / 2)
    square = square.permute(1, 2, 0)  # each pair of components once
    body = [
        *_function("times(const T* x, const T* y, T* z)", _product(tensor, "y")),
        *_function(
            "times_back(const T* x, const T* y, const T* z, T* x_back, T* y_back)",
            _product_back(tensor, "y"),
        ),
        *_function("square(const T* x, T* z)", _product(square, "x")),
        *_function("square_back(const T* x, const T* z, T* x_back)", _product_back(square, "x")),
    ]
    return [f"template <> struct Product<{degree}> {{", *body, "};"]


def _product(tensor: Tensor, other: str) -> list[str]:
    lines = [f"z[{k}] = T{{}};" for k in range(tensor.shape[2])]
    for (i, j), terms in _by_pair(tensor).items():
        sums = " ".join(f"z[{k}] += {value:.8e}f * p;" for k, value in terms)
        lines.append(f"{{ const T p = x[{i}] * {other}[{j}]; {sums} }}")
    return lines


def _product_back(tensor: Tensor, other: str) -> list[str]:
    lines = []
    for (i, j), terms in _by_pair(tensor).items():
        total = " + ".join(f"{value:.8e}f * z[{k}]" for k, value in terms)
        lines.append(
            f"{{ const T p = {total}; x_back[{i}] += p * {other}[{j}];"
            f" {other}_back[{j}] += p * x[{i}]; }}"
        )
    return lines


def _by_pair(tensor: Tensor) -> dict[tuple[int, int], list[tuple[int, float]]]:
    pairs: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for i, j, k, value in _terms(tensor):
        pairs[i, j].append((k, value))
    return pairs
