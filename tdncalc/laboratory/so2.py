"""The frame of the edge: rotate it to the axis, couple within ±m, rotate back."""

import torch
from torch import Tensor, nn

from tdncalc.laboratory.clebsch_gordan import WeightedPaths
from tdncalc.laboratory.paths import all_paths, block
from tdncalc.laboratory.product import Product, by_order, from_order
from tdncalc.laboratory.rotation import rotation_to_axis, step, wigner
from tdncalc.nn.spherical import degree_slice

__all__ = ["SO2Paths", "SO2Shared"]


class _Frame(nn.Module):
    """Rotations from the frame of the lab to that of an edge, sorted by order m."""

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        for degree in range(2, l_max + 1):
            self.register_buffer(f"step_{degree}", step(degree), persistent=False)
        places, _ = by_order(l_max)
        self.register_buffer("places", places.flatten(), persistent=False)
        self.register_buffer("order", from_order(l_max), persistent=False)

    def matrices(self, y: Tensor) -> list[Tensor]:
        """Return the rotation of each degree from harmonics y (…, D)."""
        vector = y[..., 1:4]
        direction = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
        steps = [self.get_buffer(f"step_{degree}") for degree in range(2, self.l_max + 1)]
        return wigner(rotation_to_axis(direction), steps)[: self.l_max + 1]

    def enter(self, matrices: list[Tensor], x: Tensor) -> Tensor:
        """Rotate x (…, D, C) and sort it, (…, 2L+1, L+1, C)."""
        turned = [m @ x[..., degree_slice(degree), :] for degree, m in enumerate(matrices)]
        rows = torch.cat(turned, dim=-2).index_select(-2, self.get_buffer("places"))
        table: Tensor = rows.unflatten(-2, (2 * self.l_max + 1, self.l_max + 1))
        return table

    def leave(self, matrices: list[Tensor], table: Tensor) -> Tensor:
        """Take (…, 2L+1, L+1, C) back to (…, D, C)."""
        z = table.flatten(-3, -2).index_select(-2, self.get_buffer("order"))
        return torch.cat(
            [m.mT @ z[..., degree_slice(degree), :] for degree, m in enumerate(matrices)], dim=-2
        )


class SO2Shared(Product):
    r"""A constant tensor in the frame where y has components m = 0 only.

    There the D × D matrix of an edge is the same for all edges and couples only equal |m|: O(L³)
    instead of O(L⁶) (eSCN: Passaro and Zitnick, ICML 2023). y must be the spherical harmonics of
    one direction; of it only degree 1 is read.

    Parameters
    ----------
    tensor
        M, (D, D, D), of even paths.
    """

    needs_direction = True

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor)
        self.frame = _Frame(self.l_max)
        same, _ = _in_frame(tensor)
        self.constant("kernel", same)  # (2L+1, L+1 out, L+1 in)

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with harmonics y (…, D)."""
        matrices = self.frame.matrices(y)
        return self.frame.leave(matrices, self.get_buffer("kernel") @ self.frame.enter(matrices, x))

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the rotations, their making, and the product within each m."""
        table = 2 * (2 * self.l_max + 1) * (self.l_max + 1) ** 2
        return _rotation_flops(self.l_max, channels) + channels * table

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the sorted table before and after."""
        return 2 * channels * (2 * self.l_max + 1) * (self.l_max + 1)


class SO2Paths(WeightedPaths):
    """The same with a weight for each path and channel; odd paths couple m with −m.

    y must be the spherical harmonics of one direction; of it only degree 1 is read.
    """

    needs_direction = True

    def __init__(self, l_max: int, weights: Tensor) -> None:
        super().__init__(l_max, weights)
        self.frame = _Frame(l_max)
        kernels = [_path_kernel(path, l_max) for path in all_paths(l_max)]
        self.constant("kernels", torch.stack(kernels).flatten(1).T)  # (2·(2L+1)·(L+1)², paths)

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with harmonics y (…, D)."""
        n, levels = 2 * self.l_max + 1, self.l_max + 1
        matrices = self.frame.matrices(y)
        table = self.frame.enter(matrices, x)  # (…, 2L+1, L+1, C)
        kernel = (self.get_buffer("kernels") @ self.weights).view(2, n, levels, levels, -1)
        same = torch.einsum("moic,...mic->...moc", kernel[0], table)
        opposite = torch.einsum("moic,...mic->...moc", kernel[1], table.flip(-3))
        return self.frame.leave(matrices, same + opposite)

    def flops(self, channels: int, *, many: bool) -> int:
        """Count the rotations, their making, and two products within each m."""
        table = 4 * (2 * self.l_max + 1) * (self.l_max + 1) ** 2
        return _rotation_flops(self.l_max, channels) + channels * table

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the size of the products within each m before they are added up."""
        return 2 * channels * (2 * self.l_max + 1) * (self.l_max + 1) ** 2


def _path_kernel(path: tuple[int, int, int], l_max: int) -> Tensor:
    tensor = torch.zeros(((l_max + 1) ** 2,) * 3, dtype=torch.float64, device="cpu")
    tensor[tuple(map(degree_slice, path))] = block(path)
    return torch.stack(_in_frame(tensor))  # (2, 2L+1, L+1, L+1)


def _in_frame(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Contract M with Y at the pole: tables of m to m and of −m to m, (2L+1, L+1 out, L+1 in)."""
    l_max = int(len(tensor) ** 0.5) - 1
    pole = torch.zeros(len(tensor), dtype=torch.float64, device="cpu")
    for degree in range(l_max + 1):
        pole[degree**2 + degree] = (2 * degree + 1) ** 0.5
    matrix = torch.einsum("ijk,j->ki", tensor, pole)  # (D out, D in)
    places, filled = by_order(l_max)
    both = filled[:, :, None] * filled[:, None, :]
    same = matrix[places[:, :, None], places[:, None, :]] * both
    opposite = matrix[places[:, :, None], places.flip(0)[:, None, :]] * both
    opposite[l_max] = 0.0  # m = 0 is its own opposite
    return same, opposite


def _rotation_flops(l_max: int, channels: int) -> int:
    turns = sum(4 * channels * (2 * degree + 1) ** 2 for degree in range(l_max + 1))
    making = 0
    for degree in range(2, l_max + 1):
        below, here = 2 * degree - 1, 2 * degree + 1
        making += 2 * below * 9 * here * below + 6 * here**2 * below  # as einsum contracts
    return turns + making
