"""Every path has a weight of its own for each channel: the Clebsch-Gordan tensor product."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdncalc.laboratory.paths import Path, all_paths, block, path_tensor
from tdncalc.laboratory.product import Product
from tdncalc.nn.clebsch_gordan import e3nn_product, from_e3nn, to_e3nn
from tdncalc.nn.spherical import degree_slice

__all__ = ["DensePaths", "E3NNPaths", "SparsePaths", "WeightedPaths", "path_weights"]


def path_weights(l_max: int, channels: int) -> Tensor:
    """Return the weights that a measurement uses, (paths, C) float64, standard normal, seeded."""
    generator = torch.Generator("cpu").manual_seed(l_max)
    size = (len(all_paths(l_max)), channels)
    return torch.randn(size, generator=generator, dtype=torch.float64, device="cpu")


class WeightedPaths(Product):
    r"""The base of products with weights: :math:`M_{ijkc} = \sum_p w_{pc} W^p_{ijk}`.

    Parameters
    ----------
    l_max
        The largest degree L.
    weights
        w, (paths, C), in the order of ``paths``.
    paths
        (l1, l2, l3); all of them if None.
    fixed
        Whether the weights are constants, as where one tensor serves all channels.
    """

    def __init__(
        self,
        l_max: int,
        weights: Tensor,
        paths: Sequence[Path] | None = None,
        *,
        fixed: bool = False,
    ) -> None:
        chosen = list(all_paths(l_max) if paths is None else paths)
        weighted = dict(zip(chosen, weights.detach(), strict=True))
        super().__init__(path_tensor(l_max, weighted))
        self.paths = chosen
        self.fixed = fixed
        self.weights = nn.Parameter(weights.clone(), requires_grad=not fixed)


class E3NNPaths(WeightedPaths):
    """e3nn's ``TensorProduct`` with instructions ``uvu`` or, for many channels, ``uuu``."""

    def pack(self, x: Tensor) -> Tensor:
        """Bring an operand into e3nn's layout: degree, channel, component."""
        return to_e3nn(x if x.dim() == 3 else x[..., None], self.l_max)

    def unpack(self, z: Tensor) -> Tensor:
        """Bring e3nn's layout back to (N, D, C)."""
        return from_e3nn(z, self.l_max, self.weights.shape[1])

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (N, D·C) with y (N, D) or (N, D·C) by e3nn."""
        many = y.shape[1] == x.shape[1] != self.size
        channels = self.weights.shape[1]
        degrees = (self.l_max,) * 3
        product = e3nn_product(degrees, tuple(self.paths), channels, many, x.dtype, x.device)
        coupled: Tensor = product(x, y, self.weights.flatten())
        return coupled

    def flops(self, channels: int, *, many: bool) -> int:
        """Count y (or x ⊗ y) with each block, times x, times the weight."""
        return _flops_by_path(self.paths, channels, many=many)

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of x ⊗ y of the largest pair of degrees."""
        return channels * (2 * self.l_max + 1) ** 2


class DensePaths(WeightedPaths):
    """All paths from one l1 at once: a matrix per edge, times x, times the weights, added up."""

    def __init__(self, l_max: int, weights: Tensor, paths: Sequence[Path] | None = None) -> None:
        super().__init__(l_max, weights, paths)
        self.order = sorted(range(len(self.paths)), key=lambda p: self.paths[p])  # by l1
        ordered = [self.paths[p] for p in self.order]
        self.rows = [sum(2 * p[2] + 1 for p in ordered if p[0] == l1) for l1 in range(l_max + 1)]
        kernel = torch.cat([_embedded(path, l_max) for path in ordered], dim=2)  # (D, D, S)
        self.constant("kernel", kernel.flatten(0, 1).T)  # (S, D·D)
        self._matrices(kernel)
        repeats = torch.tensor([2 * path[2] + 1 for path in ordered])
        self.constant("weight_rows", torch.repeat_interleave(torch.tensor(self.order), repeats))
        out = [torch.arange(l3**2, (l3 + 1) ** 2) for _, _, l3 in ordered]
        self.constant("out_rows", torch.cat(out))

    def _matrices(self, kernel: Tensor) -> None:
        start, parts = 0, []
        for l1, rows in enumerate(self.rows):
            part = kernel[degree_slice(l1), :, start : start + rows]  # (2l1+1, D, rows)
            parts.append(part.permute(1, 2, 0).flatten(1))
            start += rows
        self.constant("by_edge", torch.cat(parts, dim=1))  # (D, Σ rows·(2l1+1))

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        terms = self._many(x, y) if y.dim() == x.dim() else self._one(x, y)  # (…, S, C)
        weighted = terms * self.weights.index_select(0, self.get_buffer("weight_rows"))
        empty = weighted.new_zeros((*x.shape[:-2], self.size, x.shape[-1]))
        return empty.index_add(-2, self.get_buffer("out_rows"), weighted)

    def _one(self, x: Tensor, y: Tensor) -> Tensor:
        matrices = y @ self.get_buffer("by_edge")
        parts = matrices.split([n * (2 * l1 + 1) for l1, n in enumerate(self.rows)], dim=-1)
        return torch.cat(
            [
                part.unflatten(-1, (rows, 2 * l1 + 1)) @ x[..., degree_slice(l1), :]
                for l1, (part, rows) in enumerate(zip(parts, self.rows, strict=True))
            ],
            dim=-2,
        )

    def _many(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = (x[..., :, None, :] * y[..., None, :, :]).flatten(-3, -2)  # (…, D·D, C)
        return self.get_buffer("kernel") @ pairs

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the matrix products, the weighting and the sum."""
        rows, pairs = sum(self.rows), self.size**2
        if many:
            return channels * (pairs + 2 * rows * pairs + 2 * rows)
        entries = sum(n * (2 * l1 + 1) for l1, n in enumerate(self.rows))
        return 2 * self.size * entries + channels * (2 * entries + 2 * rows)

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the terms before they are added up, or of x ⊗ y."""
        return channels * max(sum(self.rows), self.size**2 if many else 0)


class SparsePaths(WeightedPaths):
    """Only the nonzero entries: gather x and y, multiply, add to the output (index_add)."""

    def __init__(self, l_max: int, weights: Tensor, paths: Sequence[Path] | None = None) -> None:
        super().__init__(l_max, weights, paths)
        found = [_entries(path, number) for number, path in enumerate(self.paths)]
        table = torch.cat([indices for indices, _ in found], dim=1)
        for name, column in zip(("i", "j", "k", "path"), table, strict=True):
            self.constant(name, column)
        self.constant("values", torch.cat([values for _, values in found]))

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C)."""
        y = y if y.dim() == x.dim() else y[..., None]
        i, j, k, path = (self.get_buffer(name) for name in ("i", "j", "k", "path"))
        factor = self.get_buffer("values")[:, None] * self.weights.index_select(0, path)  # (n, C)
        terms = x.index_select(-2, i) * (y.index_select(-2, j) * factor)  # (…, n, C)
        empty = terms.new_zeros((*x.shape[:-2], self.size, x.shape[-1]))
        return empty.index_add(-2, k, terms)

    def flops(self, channels: int, *, many: bool) -> int:
        """Count two multiplications and an addition for each nonzero entry."""
        return 3 * channels * len(self.get_buffer("values"))

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the terms before they are added up, which backward keeps."""
        return 3 * channels * len(self.get_buffer("values"))


def _embedded(path: Path, l_max: int) -> Tensor:
    """Return a path's block among all components of the operands, (D, D, 2l3+1)."""
    size = (l_max + 1) ** 2
    kernel = torch.zeros(size, size, 2 * path[2] + 1, dtype=torch.float64, device="cpu")
    kernel[degree_slice(path[0]), degree_slice(path[1])] = block(path)
    return kernel


def _entries(path: Path, number: int) -> tuple[Tensor, Tensor]:
    """Return (i, j, k, path) of the nonzero entries of a path, (4, n), and their values, (n,)."""
    symbol = torch.where(block(path).abs() > 1e-14, block(path), 0.0)
    places = symbol.nonzero()
    starts = torch.tensor([degree**2 for degree in path])
    numbers = torch.full((len(places), 1), number)
    return torch.cat([places + starts, numbers], dim=1).T, symbol[tuple(places.T)]


def _flops_by_path(paths: Sequence[Path], channels: int, *, many: bool) -> int:
    total = 0
    for n1, n2, n3 in (tuple(2 * degree + 1 for degree in path) for path in paths):
        outer = channels * n1 * n2 + 2 * channels * n1 * n2 * n3
        by_edge = 2 * n1 * n2 * n3 + 2 * channels * n1 * n3
        total += (outer if many else by_edge) + 2 * channels * n3
    return total
