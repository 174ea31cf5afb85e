"""The default layer: message passing and products of node features, all by one tensor product."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tdncalc.nn.bound import bounded_norm
from tdncalc.nn.coupling import Coupling
from tdncalc.nn.equivariant import EquivariantLinear, GatedUpdate
from tdncalc.nn.radial import RadialWeights
from tdncalc.nn.spherical import degrees
from tdncalc.nn.tensor_product import Evaluation, TensorProduct

__all__ = ["Edges", "Gather", "Interaction", "LayerSizes", "Message", "NodeProduct"]

# From features sent (N, D_in, C), harmonics (E, D), weights (E, L+1, C), source and target (E,) to
# what each atom gathers, (N, D, C).
Gather = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerSizes:
    """The sizes of one layer: degrees, channels, radial functions, neighbors."""

    l_in: int
    l_edge: int
    l_out: int
    n_elements: int
    channels: int
    edge_channels: int
    n_radial: int
    hidden: int
    correlation: int
    n_neighbors: float


@dataclass(frozen=True)
class Edges:
    """What a layer needs to know of the edges j -> i.

    Attributes
    ----------
    source, target
        Indices j and i of the atoms, (E,).
    source_elements, target_elements
        Element indices of the atoms, (E,).
    lengths
        Å, (E,).
    harmonics
        Spherical harmonics of the directions, (E, D).
    basis
        Radial basis of the lengths, (E, K).
    falloff
        The envelope at the lengths, (E,).
    """

    source: Tensor
    target: Tensor
    source_elements: Tensor
    target_elements: Tensor
    lengths: Tensor
    harmonics: Tensor
    basis: Tensor
    falloff: Tensor


class Interaction(nn.Module):
    """One layer: message, product of the gathered features, gated update, residual by element.

    Attributes
    ----------
    largest
        Largest norm of the features that an atom of each element gathered in the training set,
        (n_elements,), see `bounded_norm`; ∞ until it is measured, and while a network learns.
    """

    degree: Tensor
    largest: Tensor

    def __init__(
        self, coupling: Coupling, sizes: LayerSizes, edge: Evaluation, node: Evaluation
    ) -> None:
        super().__init__()
        self.message = Message(coupling, sizes, edge)
        self.product = NodeProduct(coupling, sizes, node)
        self.update = GatedUpdate(sizes.l_out, sizes.channels, 2 * sizes.channels)
        self.l_residual = min(sizes.l_in, sizes.l_out)
        self.first = sizes.l_in == 0
        self.register_buffer("largest", torch.full((sizes.n_elements,), torch.inf))
        if not self.first:
            self.residual = nn.Parameter(
                torch.ones(sizes.n_elements, sizes.l_out + 1, sizes.channels)
            )
            self.register_buffer("degree", degrees(sizes.l_out), persistent=False)

    def forward(self, x: Tensor, elements: Tensor, edges: Edges) -> Tensor:
        """Take features x (N, D_in, C) of atoms with element indices (N,) to (N, D_out, C)."""
        largest = self.largest.index_select(0, elements)
        gathered = bounded_norm(self.message(x, edges), largest)  # (N, D, C)
        out = self.product(gathered, elements)  # (N, D_out, C)
        if not self.first:
            kept = self.residual.index_select(1, self.degree)  # (n_elements, D_out, C)
            out = out + kept.index_select(0, elements) * x[:, : out.shape[1]]
        updated: Tensor = self.update(out)
        return updated


class Message(nn.Module):
    r"""Gather the neighbors' features, coupled with the direction of each edge.

    .. math:: A_i = \frac{1}{\sqrt{\bar n}}
              \sum_{j} \big(M(W x_j, Y(\hat r_{ij})) \circ w(r_{ij}, Z_i, Z_j)\big) W'

    with one radial weight per channel and output degree, and :math:`\bar n` the average number of
    neighbors in the training set.

    Attributes
    ----------
    gather
        An operator that couples, weights, sums and scales in place of plain tensors, if set.
    """

    degree: Tensor
    gather: Gather | None = None

    def __init__(self, coupling: Coupling, sizes: LayerSizes, evaluation: Evaluation) -> None:
        super().__init__()
        self.scale = sizes.n_neighbors**-0.5
        self.l_edge = sizes.l_edge
        self.scalars_only = sizes.l_in == 0
        self.down = EquivariantLinear(sizes.l_in, sizes.channels, sizes.edge_channels)
        self.radial = RadialWeights(
            sizes.n_elements, sizes.n_radial, sizes.hidden, (sizes.l_edge + 1) * sizes.edge_channels
        )
        if not self.scalars_only:
            self.couple = TensorProduct(
                coupling, evaluation, l_in=sizes.l_in, l_edge=sizes.l_edge, l_out=sizes.l_edge
            )
        self.up = EquivariantLinear(sizes.l_edge, sizes.edge_channels, sizes.channels)
        self.register_buffer("degree", degrees(sizes.l_edge), persistent=False)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """Gather x (N, D_in, C) along the edges into (N, D, C)."""
        weights = self.radial(
            edges.basis, edges.source_elements, edges.target_elements, edges.falloff
        ).unflatten(1, (self.l_edge + 1, -1))  # (E, L+1, C_e)
        gather = self.gather or self._gather
        gathered = gather(self.down(x), edges.harmonics, weights, edges.source, edges.target)
        mixed: Tensor = self.up(gathered)
        return mixed

    def _gather(
        self, sent: Tensor, harmonics: Tensor, weights: Tensor, source: Tensor, target: Tensor
    ) -> Tensor:
        n_atoms = sent.shape[0]  # len() would fix the size in a graph that is traced
        sent = sent.index_select(0, source)  # (E, D_in, C_e)
        if self.scalars_only:
            coupled = harmonics[:, :, None] * (weights * sent).index_select(1, self.degree)
        else:
            coupled = self.couple(sent, harmonics) * weights.index_select(1, self.degree)
        gathered = coupled.new_zeros(n_atoms, *coupled.shape[1:])
        scaled: Tensor = gathered.index_add(0, target, coupled) * self.scale
        return scaled  # (N, D, C_e)


class NodeProduct(nn.Module):
    r"""Products of the gathered features with themselves, up to body order ν + 1.

    .. math:: \Big(\sum_{\nu=1}^{\nu_{max}} w^{(\nu)}_{Z_i} \circ A_i^{\otimes\nu}\Big) W

    where every ⊗ is the shared product, truncated at degree L, and w has one entry per element,
    degree and channel (the products of the atomic cluster expansion, Drautz, Phys. Rev. B 99,
    014104 (2019)).
    """

    degree: Tensor

    def __init__(self, coupling: Coupling, sizes: LayerSizes, evaluation: Evaluation) -> None:
        super().__init__()
        l_edge, l_out = sizes.l_edge, sizes.l_out
        self.d_out = (l_out + 1) ** 2
        inner = [l_edge] * (sizes.correlation - 2)
        self.products = nn.ModuleList(
            TensorProduct(coupling, evaluation, l_in=l_edge, l_edge=l_edge, l_out=degree)
            for degree in [*inner, l_out][: sizes.correlation - 1]
        )
        shape = (sizes.correlation, sizes.n_elements, l_out + 1, sizes.channels)
        powers = torch.arange(sizes.correlation)[:, None, None, None]
        self.weights = nn.Parameter(torch.randn(shape) * 0.5**powers)
        self.linear = EquivariantLinear(l_out, sizes.channels, sizes.channels)
        self.register_buffer("degree", degrees(l_out), persistent=False)

    def forward(self, gathered: Tensor, elements: Tensor) -> Tensor:
        """Multiply features (N, D, C) of atoms with element indices (N,) to (N, D_out, C)."""
        weights = self.weights.index_select(2, self.degree)  # (ν, n_elements, D, C)
        weights = weights.index_select(1, elements)  # (ν, N, D, C)
        power, total = gathered, gathered[:, : self.d_out] * weights[0]
        for product, weight in zip(self.products, weights[1:], strict=True):
            power = product(power, gathered)  # (N, D, C)
            total = total + power[:, : self.d_out] * weight
        mixed: Tensor = self.linear(total)  # (N, D_out, C)
        return mixed
