r"""Message passing as one operator with two derivatives, for kernels to evaluate.

What an atom gathers along its edges is linear in the features sent, in the harmonics of the edges
and in their radial weights:

.. math:: A_{ikc} = \sum_{e:\,t_e = i} w_{e l(k) c} \sum_{ab} M_{abk}\, s_{j_e a c}\, Y_{eb}

With :math:`T(a; s, Y, w) = \sum_{ikc} a_{ikc} A_{ikc}(s, Y, w)` the gradients of a cotangent a are
derivatives of T, and the gradients of those, for their cotangents h, derivatives of
:math:`T(a; h_s, Y, w) + T(a; s, h_Y, w) + T(a; s, Y, h_w)`. So each of the three operators here is
one pass over the edges that needs no tensor of edges, components and channels at once.

They are operators of torch with shapes known to its tracers, and the first two can be
differentiated. A kernel for a device is made known by :func:`register_kernels`; without one they
are evaluated by sums over products of plain tensors, on any device and in any precision.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from tdncalc.derivatives import sum_by

__all__ = [
    "Kernels",
    "Reference",
    "coupling_key",
    "find_kernels",
    "gather_product",
    "gather_product_backward",
    "gather_product_double_backward",
    "register_kernels",
]


class Kernels(Protocol):
    """The operators of one coupling tensor on one device; tensors are contiguous.

    N atoms and E edges, from the atom ``source[e]`` to the atom ``target[e]``, (E,) int64 each. The
    edges may come in any order; those of training are sorted by target. Features s are
    (N, D_in, C), harmonics (E, D_edge), radial weights (E, L+1, C), results (N, D_out, C) with
    D_out = (L+1)²; there may be no edges, and atoms without any.
    """

    def forward(
        self, s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor
    ) -> Tensor:
        """Return A, (N, D_out, C)."""
        ...

    def backward(
        self,
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of T by s, Y and w, given the cotangent a (N, D_out, C)."""
        ...

    def double_backward(
        self,
        cotangents: Sequence[Tensor],
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return gradients by a, s, Y and w, given the cotangents of :meth:`backward`'s results."""
        ...


class Reference:
    """The operators by sums and products of plain tensors.

    Parameters
    ----------
    coupling
        M, (D_in, D_edge, D_out).
    """

    def __init__(self, coupling: Tensor) -> None:
        n_degrees = math.isqrt(coupling.shape[2])
        degree = torch.tensor([d for d in range(n_degrees) for _ in range(2 * d + 1)])
        self._tables = degree, coupling
        self._moved: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def forward(
        self, s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor
    ) -> Tensor:
        """See :class:`Kernels`."""
        degree, coupling = self._tables_for(s)
        coupled = _coupled(coupling, s.index_select(0, source), harmonics)
        coupled = coupled * weights.index_select(1, degree)
        return sum_by(coupled, target, s.shape[0])

    def backward(
        self,
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Kernels`."""
        degree, coupling = self._tables_for(s)
        sent, arrived = s.index_select(0, source), a.index_select(0, target)
        weighted = arrived * weights.index_select(1, degree)  # (E, D_out, C)
        by_sent = torch.einsum("abk,eb,ekc->eac", coupling, harmonics, weighted)
        by_harmonics = torch.einsum("abk,eac,ekc->eb", coupling, sent, weighted)
        by_weights = torch.zeros_like(weights).index_add(
            1, degree, _coupled(coupling, sent, harmonics) * arrived
        )
        return sum_by(by_sent, source, s.shape[0]), by_harmonics, by_weights

    def double_backward(
        self,
        cotangents: Sequence[Tensor],
        a: Tensor,
        s: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See :class:`Kernels`."""
        operands = [s, harmonics, weights]
        totals = [torch.zeros_like(x) for x in (a, *operands)]
        for place, cotangent in enumerate(cotangents):
            x, y, w = operands[:place] + [cotangent] + operands[place + 1 :]  # noqa: RUF005
            gathered = self.forward(x, y, w, source, target)
            gradients = list(self.backward(a, x, y, w, source, target))
            gradients[place] = torch.zeros_like(gradients[place])
            totals = [x + y for x, y in zip(totals, [gathered, *gradients], strict=True)]
        return totals[0], totals[1], totals[2], totals[3]

    def _tables_for(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return the degree of each component of the result, and M; copied to a GPU once."""
        key = s.device, s.dtype
        if key not in self._moved:
            degree, coupling = self._tables
            self._moved[key] = degree.to(s.device), coupling.to(s)
        return self._moved[key]


def _coupled(coupling: Tensor, sent: Tensor, harmonics: Tensor) -> Tensor:
    """Couple features (E, D_in, C) with harmonics (E, D_edge) to (E, D_out, C)."""
    return torch.einsum("abk,eb,eac->ekc", coupling, harmonics, sent)


Factory = Callable[[Tensor, int], Kernels | None]

_COUPLINGS: dict[str, Tensor] = {}
_FACTORIES: dict[str, Factory] = {}


def coupling_key(coupling: Tensor) -> str:
    """Return the name by which the operators know a coupling tensor M (D_in, D_edge, D_out)."""
    constant = coupling.detach().to("cpu", torch.float64).contiguous()
    digest = hashlib.sha256(repr(tuple(constant.shape)).encode())
    digest.update(constant.numpy().tobytes())
    key = digest.hexdigest()[:16]
    _COUPLINGS[key] = constant
    return key


def register_kernels(device_type: str, factory: Factory) -> None:
    """Evaluate the operators in float32 on a type of device by what a factory makes.

    The factory is called once for each coupling tensor (D_in, D_edge, D_out; float64 on the CPU)
    and number of channels; it returns None where it has no kernels.
    """
    _FACTORIES[device_type] = factory
    find_kernels.cache_clear()


@lru_cache(maxsize=64)
def find_kernels(key: str, device_type: str, channels: int) -> Kernels | None:
    """Return the kernels of a coupling for a type of device and number of channels, if any."""
    factory = _FACTORIES.get(device_type)
    return factory(_COUPLINGS[key], channels) if factory else None


def _kernels(key: str, s: Tensor) -> Kernels:
    if s.dtype == torch.float32 and (found := find_kernels(key, s.device.type, s.shape[2])):
        return found
    return Reference(_COUPLINGS[key])


@torch.library.custom_op("tdncalc::gather_product", mutates_args=())
def gather_product(
    s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor, coupling: str
) -> Tensor:
    """Gather the products A (N, D_out, C) of a coupling named by :func:`coupling_key`.

    Shapes are those of :class:`Kernels`.
    """
    operands = (x.contiguous() for x in (s, harmonics, weights, source, target))
    return _kernels(coupling, s).forward(*operands).contiguous()


@torch.library.custom_op("tdncalc::gather_product_backward", mutates_args=())
def gather_product_backward(
    a: Tensor,
    s: Tensor,
    harmonics: Tensor,
    weights: Tensor,
    source: Tensor,
    target: Tensor,
    coupling: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of T(a; s, Y, w) by s, Y and w."""
    operands = (x.contiguous() for x in (a, s, harmonics, weights, source, target))
    by_s, by_harmonics, by_weights = _kernels(coupling, s).backward(*operands)
    return by_s.contiguous(), by_harmonics.contiguous(), by_weights.contiguous()


@torch.library.custom_op(
    "tdncalc::gather_product_double_backward",
    mutates_args=(),
    # in words: what PyTorch 2.6 infers from annotations knows no collections.abc.Sequence
    schema="(Tensor[] cotangents, Tensor a, Tensor s, Tensor harmonics, Tensor weights,"
    " Tensor source, Tensor target, str coupling) -> (Tensor, Tensor, Tensor, Tensor)",
)
def gather_product_double_backward(
    cotangents: Sequence[Tensor],
    a: Tensor,
    s: Tensor,
    harmonics: Tensor,
    weights: Tensor,
    source: Tensor,
    target: Tensor,
    coupling: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of Σ h · (g_s, g_Y, g_w) by a, s, Y and w, given the cotangents h."""
    operands = (x.contiguous() for x in (a, s, harmonics, weights, source, target))
    given = [h.contiguous() for h in cotangents]
    by_a, *rest = _kernels(coupling, s).double_backward(given, *operands)
    by_s, by_harmonics, by_weights = (x.contiguous() for x in rest)
    return by_a.contiguous(), by_s, by_harmonics, by_weights


@gather_product.register_fake
def _(
    s: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor, coupling: str
) -> Tensor:
    return s.new_empty(s.shape[0], weights.shape[1] ** 2, s.shape[2])


@gather_product_backward.register_fake
def _(
    a: Tensor,
    s: Tensor,
    harmonics: Tensor,
    weights: Tensor,
    source: Tensor,
    target: Tensor,
    coupling: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        s.new_empty(s.shape),
        harmonics.new_empty(harmonics.shape),
        weights.new_empty(weights.shape),
    )


@gather_product_double_backward.register_fake
def _(
    cotangents: Sequence[Tensor],
    a: Tensor,
    s: Tensor,
    harmonics: Tensor,
    weights: Tensor,
    source: Tensor,
    target: Tensor,
    coupling: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a_like, s_like, y_like, w_like = (x.new_empty(x.shape) for x in (a, s, harmonics, weights))
    return a_like, s_like, y_like, w_like


def _keep(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ANN401 - torch's
    *tensors, ctx.coupling = inputs
    ctx.save_for_backward(*tensors)


def _by_operands(ctx: Any, a: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's
    gradients = gather_product_backward(a, *ctx.saved_tensors, ctx.coupling)
    return (*gradients, None, None, None)


def _by_operands_twice(
    ctx: Any,  # noqa: ANN401 - torch's
    *cotangents: Tensor,
) -> tuple[Tensor | None, ...]:
    gradients = gather_product_double_backward([*cotangents], *ctx.saved_tensors, ctx.coupling)
    return (*gradients, None, None, None)


gather_product.register_autograd(_by_operands, setup_context=_keep)
gather_product_backward.register_autograd(_by_operands_twice, setup_context=_keep)
