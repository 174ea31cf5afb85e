"""The path-weight-shared tensor product of arXiv:2507.01131: one operator, several evaluations."""

from typing import Literal, get_args

from torch import Tensor, nn

from tdncalc.errors import OptionError
from tdncalc.nn.clebsch_gordan import ClebschGordan
from tdncalc.nn.coupling import Coupling, approximate_coupling

__all__ = ["Evaluation", "TensorProduct"]

Evaluation = Literal["dense", "cp", "cg", "cp-approximate"]


class TensorProduct(nn.Module):
    r"""Couple x and y through one constant tensor, the same for every channel.

    .. math:: z_{kc} = \eta \sum_{ij} M_{ijk}\, x_{ic}\, y_{jc}

    (arXiv:2507.01131, path-weight sharing; the paper's channel weights belong to the caller). The
    constant :math:`\eta = (D_{out} / \sum_{ijk} M_{ijk}^2)^{1/2}`, the attribute ``scale``, keeps
    the variance of independent inputs.
    The second operand has either one channel, y (…, D), as the harmonics of an edge, or as many as
    the first, y (…, D, C). The evaluations agree to rounding when the factors are exact:

    ``dense``
        contracts y first: all channels of an edge share the matrix
        :math:`T_{ki} = \sum_j M_{ijk} y_j`.
    ``cp``
        :math:`z = C((A^\mathsf{T}x) \circ (B^\mathsf{T}y))` with factors of rank R.
    ``cg``
        path by path with e3nn's ``TensorProduct``, the reference of the other two.

    One more is another map, and only for comparison with the paper:

    ``cp-approximate``
        the paper's: M of all paths with equal weights, factors of rank 7 L² that miss it, whatever
        the coupling given. Not exactly equivariant: rotating the operands instead of the result
        changes it by 3 % at L = 2 (R = 28) and 10 % at L = 3, and reflections are no symmetry at
        all. A network with it has energies that depend on the orientation. Its factors are part of
        the state, so that a checkpoint keeps them.

    Parameters
    ----------
    coupling
        The tensor M and its factors.
    evaluation
        How to evaluate the product.
    l_in, l_edge, l_out
        Largest degrees of x, y and z; none may exceed the coupling's.
    """

    tensor: Tensor
    by_edge: Tensor
    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(
        self, coupling: Coupling, evaluation: Evaluation, *, l_in: int, l_edge: int, l_out: int
    ) -> None:
        super().__init__()
        if max(l_in, l_edge, l_out) > coupling.l_max:
            raise OptionError(
                f"degrees {l_in}, {l_edge}, {l_out} exceed the coupling's {coupling.l_max}"
            )
        if evaluation not in get_args(Evaluation):
            allowed = ", ".join(get_args(Evaluation))
            raise OptionError(f"evaluation {evaluation!r} is none of {allowed}")
        if evaluation == "cp-approximate":
            coupling = approximate_coupling(coupling.l_max)
        self.evaluation = evaluation
        self.sizes = d_in, d_edge, d_out = [(degree + 1) ** 2 for degree in (l_in, l_edge, l_out)]
        tensor = coupling.tensor[:d_in, :d_edge, :d_out]
        self.scale = float((d_out / tensor.square().sum()).sqrt())
        if evaluation in ("cp", "cp-approximate"):
            kept = evaluation == "cp-approximate"
            self._constant("a", coupling.factors.a[:d_in].T, kept=kept)  # (R, D_in)
            self._constant("b", coupling.factors.b[:d_edge].T, kept=kept)  # (R, D_edge)
            self._constant("c", self.scale * coupling.factors.c[:d_out], kept=kept)  # (D_out, R)
        elif evaluation == "cg":
            self.by_path = ClebschGordan(self.scale * tensor, l_in, l_edge, l_out)
        else:
            self._constant("tensor", self.scale * tensor)
            by_edge = self.tensor.permute(1, 2, 0).flatten(1)  # (D_edge, D_out·D_in)
            self._constant("by_edge", by_edge)

    def _constant(self, name: str, value: Tensor, *, kept: bool = False) -> None:
        self.register_buffer(name, value.contiguous(), persistent=kept)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Couple x (…, D_in, C) with y (…, D_edge) or (…, D_edge, C) to z (…, D_out, C)."""
        if self.evaluation in ("cp", "cp-approximate"):
            return self._cp(x, y if y.dim() == x.dim() else y[..., None])
        if self.evaluation == "cg":
            coupled: Tensor = self.by_path(x, y if y.dim() == x.dim() else y[..., None])
            return coupled
        return self._dense_node(x, y) if y.dim() == x.dim() else self._dense_edge(x, y)

    def _cp(self, x: Tensor, y: Tensor) -> Tensor:
        return self.c @ ((self.a @ x) * (self.b @ y))  # (…, R, C) -> (…, D_out, C)

    def _dense_edge(self, x: Tensor, y: Tensor) -> Tensor:
        d_in, _, d_out = self.sizes
        matrix: Tensor = (y @ self.by_edge).unflatten(-1, (d_out, d_in))  # (…, D_out, D_in)
        return matrix @ x  # (…, D_out, C)

    def _dense_node(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = (x[..., :, None, :] * y[..., None, :, :]).flatten(-3, -2)  # (…, D_in·D_edge, C)
        return self.tensor.flatten(0, 1).T @ pairs  # (…, D_out, C)
