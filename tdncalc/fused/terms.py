"""The nonzeros of a coupling tensor, in the orders in which kernels unroll them."""

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Terms", "terms"]

# for each place of one index: (place of a second, ((place of the third, value), ...)), ...
Nested = tuple[tuple[tuple[int, tuple[tuple[int, float], ...]], ...], ...]

_ORDERS = {"out": (2, 0, 1), "edge": (1, 2, 0), "in": (0, 2, 1)}  # result, outer, inner


@dataclass(frozen=True)
class Terms:
    """A coupling tensor M (D_in, D_edge, D_out) as nested tuples of its nonzeros.

    Two of them are equal if they have the same name; it stands for them in caches.

    Attributes
    ----------
    name
        The tensor's name, :func:`tdncalc.fused.operator.coupling_key`.
    by
        For results of ``out``, ``edge`` or ``in``: of each component the terms, grouped by the
        index that comes first among out, in and edge.
    """

    name: str
    by: dict[str, Nested] = field(compare=False, repr=False)

    def size(self, to: str) -> int:
        """Return the number of components of an index."""
        return len(self.by[to])


def terms(name: str, coupling: Tensor) -> Terms:
    """Take a coupling tensor (D_in, D_edge, D_out) apart."""
    return Terms(name, {to: _nested(coupling.permute(order)) for to, order in _ORDERS.items()})


def _nested(tensor: Tensor) -> Nested:
    """Group the nonzeros of M[result, outer, inner]."""
    return tuple(
        tuple(
            (outer, tuple((inner, float(row[inner])) for inner in row.nonzero()[:, 0].tolist()))
            for outer, row in enumerate(matrix)
            if row.any()
        )
        for matrix in tensor
    )
