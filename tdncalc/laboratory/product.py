"""What every tensor product of the laboratory offers."""

import torch
from torch import Tensor, nn

from tdncalc.nn.spherical import degrees

__all__ = ["Product", "ProductUnavailableError"]


class ProductUnavailableError(Exception):
    """A product does not exist for these degrees or operands; the message is the reason."""


class Product(nn.Module):
    r"""An equivariant bilinear map :math:`z_{kc} = \sum_{ij} M_{ijk[c]}\, x_{ic}\, y_{j[c]}`.

    A subclass implements :meth:`couple`. Operands have all degrees up to L, one of each per
    channel, in e3nn's order; the second has one channel or as many as the first.

    Parameters
    ----------
    definition
        M, (D, D, D) float64 on the CPU; (D, D, D, C) where every channel has its own.

    Attributes
    ----------
    needs_direction
        Whether y must be the spherical harmonics of one direction.
    """

    needs_direction = False

    def __init__(self, definition: Tensor) -> None:
        super().__init__()
        self.definition = definition  # not a buffer: it stays in float64 on the CPU
        self.size = len(definition)
        self.l_max = int(self.size**0.5) - 1

    def constant(self, name: str, value: Tensor) -> None:
        """Register a tensor that moves with the module and is not saved."""
        self.register_buffer(name, value.contiguous(), persistent=False)

    def pack(self, x: Tensor) -> Tensor:
        """Bring an operand (…, D, C) or (…, D) into the layout that :meth:`couple` works in."""
        return x

    def unpack(self, z: Tensor) -> Tensor:
        """Bring the result of :meth:`couple` back to (…, D, C)."""
        return z

    def couple(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple packed operands: the part whose time is measured."""
        raise NotImplementedError

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D, C) with y (…, D) or (…, D, C) to z (…, D, C)."""
        return self.unpack(self.couple(self.pack(x), self.pack(y)))

    def flops(self, channels: int, *, many: bool) -> int:
        """Return the multiplications and additions of the forward pass for one pair (x, y)."""
        raise NotImplementedError

    def workspace(self, channels: int, *, many: bool) -> int:
        """Return the numbers in the largest intermediate array for one pair (x, y)."""
        raise NotImplementedError


def reference(definition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate the definition of a product, term by term, in the dtype of the operands."""
    tensor = definition.to(x)
    indices = "ijkc" if tensor.dim() == 4 else "ijk"
    second = "...jc" if y.dim() == x.dim() else "...j"
    return torch.einsum(f"{indices},...ic,{second}->...kc", tensor, x, y)


def by_order(l_max: int) -> tuple[Tensor, Tensor]:
    """Return how to sort components by m: places in a (2L+1, L+1) table and which are filled.

    Returns
    -------
    places
        Component l² + l + m in row L + m and column l, 0 where l < |m|; (2L+1, L+1) int64.
    filled
        Whether l >= |m|; (2L+1, L+1) bool.
    """
    orders = torch.arange(-l_max, l_max + 1)[:, None]
    levels = torch.arange(l_max + 1)[None, :]
    filled = levels >= orders.abs()
    return torch.where(filled, levels**2 + levels + orders, 0), filled


def from_order(l_max: int) -> Tensor:
    """Return where component k of D stands in the flat (2L+1)·(L+1) table of :func:`by_order`."""
    levels = degrees(l_max)
    orders = torch.arange(len(levels)) - levels**2 - levels
    return (l_max + orders) * (l_max + 1) + levels
