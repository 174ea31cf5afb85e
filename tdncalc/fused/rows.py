"""The edges of every atom, listed one atom after another."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Rows", "make_rows"]


@dataclass(frozen=True)
class Rows:
    """The edges at one end of every atom: those of atom n are ``edges[starts[n]:starts[n + 1]]``.

    Attributes
    ----------
    starts
        Where the edges of each atom begin and the last one's end, (N + 1,) int32.
    edges
        Places of the edges, (E,) int32.
    others
        The atoms at the other ends of these edges, (E,) int32.
    """

    starts: Tensor
    edges: Tensor
    others: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the attributes as the kernels take them."""
        return self.starts, self.edges, self.others

    def copy_(self, rows: "Rows") -> None:
        """Take over the values of others of the same shapes."""
        for mine, new in zip(self.tensors(), rows.tensors(), strict=True):
            mine.copy_(new)


def make_rows(atoms: Tensor, others: Tensor, n_atoms: int) -> Rows:
    """List the edges of each of N atoms, given the atoms at both ends of every edge, (E,) each."""
    ordered, edges = torch.sort(atoms, stable=True)
    bounds = torch.arange(n_atoms + 1, dtype=ordered.dtype, device=ordered.device)
    return Rows(
        torch.searchsorted(ordered, bounds, out_int32=True),
        edges.to(torch.int32),
        others.index_select(0, edges).to(torch.int32),
    )
