"""The published layer: graph attention whose two products share one constant tensor.

Letters as everywhere, and E_i the edges that end at atom i. Every layer commutes with rotations as
long as the factors of the product are exact; with mirror images none does, for odd paths take part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tdncalc.nn.coupling import Coupling
from tdncalc.nn.shared_linear import DegreeNorm, GatedLinear, SharedLinear
from tdncalc.nn.tensor_product import Evaluation, TensorProduct

__all__ = [
    "AttentionBlock",
    "AttentionEdges",
    "AttentionSizes",
    "DegreeEmbedding",
    "GaussianBasis",
    "GraphAttention",
]

_SLOPE = 0.2  # of the leaky ReLU that is smoothed


@dataclass(frozen=True)
class AttentionSizes:
    """The sizes of a block: channels, heads, radial functions, radial layers; and its dropout."""

    channels: int
    heads: int
    n_radial: int
    hidden: tuple[int, int]
    dropout: float


@dataclass(frozen=True)
class AttentionEdges:
    """What a block needs to know of the edges j -> i.

    Attributes
    ----------
    source, target
        Indices j and i of the atoms, (E,).
    harmonics
        Spherical harmonics of the directions, (E, D).
    basis
        Radial basis of the lengths, (E, K).
    """

    source: Tensor
    target: Tensor
    harmonics: Tensor
    basis: Tensor


class AttentionBlock(nn.Module):
    """Attention and a gated update, each of normalized features and added to what was there.

    The block of Equiformer (arXiv:2206.11990, Fig. 1) with the products of arXiv:2507.01131.
    """

    def __init__(self, coupling: Coupling, sizes: AttentionSizes, evaluation: Evaluation) -> None:
        super().__init__()
        l_max, channels = coupling.l_max, sizes.channels
        self.norm1 = DegreeNorm(l_max, channels)
        self.attn = GraphAttention(coupling, sizes, evaluation)
        self.norm2 = DegreeNorm(l_max, channels)
        self.ffn_in = GatedLinear(channels, channels)
        self.ffn_out = SharedLinear(channels, channels)

    def forward(self, x: Tensor, edges: AttentionEdges) -> Tensor:
        """Take features x (N, D, C) to the same shape."""
        x = x + self.attn(self.norm1(x), edges)  # (N, D, C)
        updated: Tensor = x + self.ffn_out(self.ffn_in(self.norm2(x)))
        return updated


class GraphAttention(nn.Module):
    r"""Gather messages of the neighbors, weighted by attention, one weight per head and edge.

    .. math:: m_e &= (W_s x_j + W_d x_i) \otimes_{w_e} Y_e \\
              p_e &= \mathrm{softmax}_{e \in E_i}\, a \cdot \mathrm{act}(W_a m_e)_{l=0} \\
              x'_i &= W \sum_{e \in E_i} p_e\, (\mathrm{gate}(W_v m_e) \otimes_{w_e} Y_e)

    with the path-weight-shared product of arXiv:2507.01131, scaled by one weight per channel and
    edge that depends on the length. act is a smooth leaky ReLU, t (0.6 + 0.4 tanh(t / 2)).
    """

    def __init__(self, coupling: Coupling, sizes: AttentionSizes, evaluation: Evaluation) -> None:
        super().__init__()
        channels, heads = sizes.channels, sizes.heads
        self.merge_src = SharedLinear(channels, channels)
        self.merge_dst = SharedLinear(channels, channels, bias=False)
        self.rad = RadialProfile(sizes)
        self.product = ScaledProduct(coupling, evaluation)
        self.lin_alpha = SharedLinear(channels, channels)
        self.alpha_dot = nn.Parameter(
            torch.randn(heads, channels // heads) * (heads / channels) ** 0.5
        )
        self.lin_value = GatedLinear(channels, channels)
        self.dropout = nn.Dropout(sizes.dropout)
        self.proj = SharedLinear(channels, channels)

    def forward(self, x: Tensor, edges: AttentionEdges) -> Tensor:
        """Attend from features x (N, D, C) to the same shape."""
        source, target = edges.source, edges.target
        weights = self.rad(edges.basis)  # (E, C)
        merged = self.merge_src(x).index_select(0, source)
        merged = merged + self.merge_dst(x).index_select(0, target)  # (E, D, C)
        message = self.product(merged, edges.harmonics, weights)  # (E, D, C)
        attention = self.dropout(self._attention(message, target, len(x)))  # (E, H)
        by_head = weights.unflatten(1, self.alpha_dot.shape)  # (E, H, S)
        weights = (by_head * attention[:, :, None]).flatten(1)  # (E, C)
        value = self.product(self.lin_value(message), edges.harmonics, weights)  # (E, D, C)
        gathered: Tensor = self.proj(torch.zeros_like(x).index_add(0, target, value))
        return gathered

    def _attention(self, message: Tensor, target: Tensor, n_atoms: int) -> Tensor:
        scalars = self.lin_alpha(message[:, :1])[:, 0]  # (E, C)
        active = scalars * ((1 + _SLOPE) / 2 + (1 - _SLOPE) / 2 * torch.tanh(scalars / 2))
        logits = (active.unflatten(1, self.alpha_dot.shape) * self.alpha_dot).sum(2)  # (E, H)
        return _softmax_by(logits, target, n_atoms)


class DegreeEmbedding(nn.Module):
    r"""What an atom knows of its surroundings before the first block: no chemistry, only geometry.

    .. math:: G_i = \frac{1}{\sqrt{d_{avg}}} \sum_{e \in E_i} (W (s \otimes_{w_e} Y_e) + b)

    where s is the same scalar vector for every atom, the row sums of a matrix plus a bias, and
    :math:`d_{avg}` a constant: the average number of neighbors of the training set.
    """

    def __init__(
        self, coupling: Coupling, sizes: AttentionSizes, evaluation: Evaluation, d_avg: float
    ) -> None:
        super().__init__()
        self.scale = d_avg**-0.5
        self.exp = SharedLinear(sizes.channels, sizes.channels)
        self.rad = RadialProfile(sizes)
        self.product = ScaledProduct(coupling, evaluation)
        self.proj = SharedLinear(sizes.channels, sizes.channels)

    def forward(self, edges: AttentionEdges, n_atoms: int) -> Tensor:
        """Return the features of n atoms, (N, D, C)."""
        n_edges, d = edges.harmonics.shape
        scalars = self.exp(self.exp.weight.new_ones(1, 1, self.exp.weight.shape[1]))  # (1, 1, C)
        x = nn.functional.pad(scalars, (0, 0, 0, d - 1)).expand(n_edges, -1, -1)  # (E, D, C)
        sent = self.product(x, edges.harmonics, self.rad(edges.basis))  # (E, D, C)
        gathered = sent.new_zeros(n_atoms, *sent.shape[1:]).index_add(0, edges.target, sent)
        # the matrix may wait for the sum; the bias of every edge is then one for each neighbor
        degree = torch.bincount(edges.target, minlength=n_atoms).to(gathered)  # (N,)
        embedded: Tensor = self.proj(gathered, degree[:, None, None]) * self.scale
        return embedded  # (N, D, C)


class ScaledProduct(nn.Module):
    r"""The product of arXiv:2507.01131 with its weights, one per channel and edge.

    .. math:: z_{kc} = w_c \sum_{ij} M_{ijk}\, x_{ic}\, y_j
    """

    def __init__(self, coupling: Coupling, evaluation: Evaluation) -> None:
        super().__init__()
        l_max = coupling.l_max
        self.product = TensorProduct(coupling, evaluation, l_in=l_max, l_edge=l_max, l_out=l_max)

    def forward(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Couple x (E, D, C) with y (E, D) under weights (E, C) to (E, D, C)."""
        coupled: Tensor = self.product(x, y)
        # the product normalizes the variance of its result, which the published one does not
        return coupled * (weights / self.product.scale)[:, None, :]


class RadialProfile(nn.Module):
    """Weights of a product, one per channel, from the radial basis: (E, K) -> (E, C)."""

    def __init__(self, sizes: AttentionSizes) -> None:
        super().__init__()
        first, second = sizes.hidden
        self.net = nn.Sequential(
            nn.Linear(sizes.n_radial, first),
            nn.LayerNorm(first),
            nn.SiLU(),
            nn.Linear(first, second),
            nn.LayerNorm(second),
            nn.SiLU(),
            nn.Linear(second, sizes.channels, bias=False),
        )
        bound = second**-0.5
        self.offset = nn.Parameter(torch.empty(sizes.channels).uniform_(-bound, bound))

    def forward(self, basis: Tensor) -> Tensor:
        """Map the basis (E, K) to weights (E, C)."""
        weights: Tensor = self.net(basis) + self.offset
        return weights


class GaussianBasis(nn.Module):
    r"""Normal densities of learned centers μ and widths s of the scaled length.

    .. math:: g_k = \frac{1}{\sqrt{2\pi}\, s_k} e^{-((t - \mu_k) / s_k)^2 / 2},\quad
              t = \alpha d / r_c + \beta

    They do not vanish at the cutoff. The widths may carry a sign, which means nothing.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.mean = nn.Parameter(torch.rand(1, n_radial))
        self.std = nn.Parameter(torch.empty(1, n_radial).uniform_(1 / n_radial, 1))
        self.weight = nn.Parameter(torch.ones(1, 1))
        self.bias = nn.Parameter(torch.zeros(1, 1))

    def forward(self, lengths: Tensor) -> Tensor:
        """Evaluate the basis: lengths (E,) in Å -> (E, K)."""
        scaled = self.weight * lengths[:, None] / self.cutoff + self.bias  # (E, 1)
        width = self.std.abs() + 1e-5  # (1, K)
        heights = 1 / ((2 * torch.pi) ** 0.5 * width)
        values: Tensor = heights * torch.exp(-(((scaled - self.mean) / width) ** 2) / 2)
        return values


def _softmax_by(logits: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return the softmax of logits (E, H) over the edges of a group each, (E, H)."""
    with torch.no_grad():
        places = groups[:, None].expand_as(logits)
        peaks = logits.new_zeros(n_groups, logits.shape[1])
        peaks = peaks.scatter_reduce(0, places, logits, "amax", include_self=False)
    raised = torch.exp(logits - peaks.index_select(0, groups))  # (E, H)
    totals = torch.zeros_like(peaks).index_add(0, groups, raised) + 1e-16
    return raised / totals.index_select(0, groups)
