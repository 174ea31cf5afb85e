"""The published network, arXiv:2507.01131: graph attention with a direct or a gradient force.

What a user must know of it, other than of :mod:`tdncalc.tdn`: nothing in it falls off at the
cutoff, so the energy jumps there; a molecule and its mirror image have different energies; it is
invariant under rotation only as far as the factors of its product are exact.
:mod:`tdncalc.selftest.checks` measures all of it.
"""

import torch
from torch import Tensor, nn

from tdncalc.errors import ConfigError
from tdncalc.nn.attention import (
    AttentionBlock,
    AttentionEdges,
    AttentionSizes,
    DegreeEmbedding,
    GaussianBasis,
    GraphAttention,
)
from tdncalc.nn.coupling import EXACT_RANKS, Coupling, build_coupling, cp_factors, paper_rank
from tdncalc.nn.shared_linear import DegreeNorm, SharedLinear
from tdncalc.nn.spherical import SphericalHarmonics, degree_slice
from tdncalc.nn.tensor_product import Evaluation
from tdncalc.published.config import EVALUATIONS, MAX_ELEMENTS, Product, PublishedConfig

__all__ = ["PublishedConfig", "PublishedTDN", "published_coupling"]


class PublishedTDN(nn.Module):
    r"""Energies of atoms, and forces if asked, by attention over the edges between them.

    .. math:: E = \frac{1}{\sqrt{N_{avg}}} \sum_i \epsilon_i

    An atom without neighbors has no energy at all, and no force, unless the configuration says so.

    Parameters
    ----------
    config
        The hyper-parameters.
    coupling
        The tensor of all paths, with the factors of the product.
    """

    reference_energies: Tensor

    def __init__(self, config: PublishedConfig, coupling: Coupling) -> None:
        super().__init__()
        self.config = config
        self.coupling = coupling
        channels, l_max = config.channels, config.l_max
        sizes = AttentionSizes(
            channels, config.heads, config.n_radial, config.hidden, config.dropout
        )
        used, evaluation = _evaluated(coupling, config.product)
        self.register_buffer("reference_energies", torch.zeros(MAX_ELEMENTS, dtype=torch.float64))
        self.harmonics = SphericalHarmonics(l_max, _gaunt_steps(coupling.tensor, l_max))
        self.rbf = GaussianBasis(config.n_radial, config.cutoff)
        self.atom_embed = nn.Linear(MAX_ELEMENTS, channels)
        self.edge_embed = DegreeEmbedding(used, sizes, evaluation, config.d_avg)
        self.blocks = nn.ModuleList(
            AttentionBlock(used, sizes, evaluation) for _ in range(config.n_layers)
        )
        self.norm = DegreeNorm(l_max, channels)
        self.head_in = SharedLinear(channels, channels)
        self.head_out = SharedLinear(channels, 1)
        if config.forces == "direct":
            self.force_head = GraphAttention(used, sizes, evaluation)
            self.force_proj = SharedLinear(channels, 1)

    def element_indices(self, numbers: Tensor) -> Tensor:
        """Return the columns of the embedding for atomic numbers (N,): the numbers themselves."""
        return numbers

    def forward(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Return the energy of each atom in eV, without the reference energies, (N,).

        Parameters
        ----------
        elements
            Atomic numbers, (N,) int64.
        edge_index
            [source j, target i], (2, E) int64.
        vectors
            From target to source in Å, (E, 3), in the network's dtype.
        """
        return self.energies_and_descriptors(elements, edge_index, vectors)[0]

    def energies_and_descriptors(
        self, elements: Tensor, edge_index: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energies of :meth:`forward`, (N,), with the :meth:`descriptors`."""
        edges = self._edges(edge_index, vectors, len(elements))
        x = self._features(elements, edges)  # (N, D, C)
        return self._energies(x, edges), x[:, 0]

    def energies_and_forces(
        self, elements: Tensor, edge_index: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy of each atom in eV, (N,), and the direct forces in eV/Å, (N, 3).

        The arguments are those of :meth:`forward`.
        """
        edges = self._edges(edge_index, vectors, len(elements))
        x = self._features(elements, edges)  # (N, D, C)
        forces = self.force_proj(self.force_head(x, edges))[:, 1:4, 0]  # (N, 3)
        return self._energies(x, edges), forces

    def descriptors(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Return the scalars of each atom after the last block, (N, C)."""
        edges = self._edges(edge_index, vectors, len(elements))
        return self._features(elements, edges)[:, 0]

    def _features(self, elements: Tensor, edges: AttentionEdges) -> Tensor:
        symbols = self.atom_embed.weight.T.index_select(0, elements) + self.atom_embed.bias
        x = self.edge_embed(edges, len(elements))  # (N, D, C)
        x = torch.cat([x[:, :1] + symbols[:, None], x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x, edges)
        normalized: Tensor = self.norm(x)
        return normalized

    def _energies(self, x: Tensor, edges: AttentionEdges) -> Tensor:
        hidden = nn.functional.silu(self.head_in(x[:, :1]))  # (N, 1, C)
        energies: Tensor = self.head_out(hidden)[:, 0, 0] * self.config.n_avg**-0.5  # (N,)
        if self.config.keep_isolated:
            return energies
        bonded = torch.zeros_like(energies)
        for ends in (edges.source, edges.target):
            bonded = bonded.index_fill(0, ends, 1)
        return energies * bonded

    def _edges(self, edge_index: Tensor, vectors: Tensor, n_atoms: int) -> AttentionEdges:
        kept = _first_neighbors(edge_index, n_atoms, self.config)
        if kept is not None:
            edge_index, vectors = edge_index[:, kept], vectors[kept]
        lengths = torch.linalg.vector_norm(vectors, dim=1)  # (E,)
        return AttentionEdges(
            source=edge_index[0],
            target=edge_index[1],
            harmonics=self.harmonics(vectors / lengths[:, None]),  # (E, D)
            basis=self.rbf(lengths),  # (E, K)
        )


def published_coupling(config: PublishedConfig, *, seed: int = 0) -> Coupling:
    """Return the tensor of all paths with the factors that a new network of this kind gets.

    Of the configured rank; else of the lowest exact one known, or the paper's 7 L².
    """
    l_max, rank = config.l_max, config.rank
    if rank is None and l_max not in EXACT_RANKS["SO3", "equal"]:
        rank = paper_rank(l_max)
    return build_coupling(l_max, paths="SO3", weights="equal", rank=rank, seed=seed)


def _evaluated(coupling: Coupling, product: Product) -> tuple[Coupling, Evaluation]:
    """Return the tensor with its factors, and the evaluation, that a product stands for."""
    factors = coupling.factors
    if product == "dense":
        tensor = torch.einsum(
            "ir,jr,kr->ijk", *(f.double() for f in (factors.a, factors.b, factors.c))
        )
        return Coupling(tensor, factors), "dense"
    if product == "exact-cp":
        rank = EXACT_RANKS["SO3", "equal"].get(coupling.l_max)
        if rank is None:
            raise ConfigError(
                f"no exact factors are known for l_max {coupling.l_max}; use product exact-dense"
            )
        return Coupling(coupling.tensor, cp_factors(coupling.tensor, rank)), "cp"
    return coupling, EVALUATIONS[product]


def _gaunt_steps(tensor: Tensor, l_max: int) -> Tensor:
    """Return a tensor whose blocks (l-1, 1, l) have Gaunt weights, as the harmonics need them."""
    gaunt = tensor.clone()
    for degree in range(2, l_max + 1):
        place = degree_slice(degree - 1), degree_slice(1), degree_slice(degree)
        block = tensor[place]
        # as in coupling_tensor: m = 0 stands in the middle, and the block's sign squares away
        gaunt[place] = block.numel() ** 0.5 * block[degree - 1, 1, degree] * block
    return gaunt


def _first_neighbors(edge_index: Tensor, n_atoms: int, config: PublishedConfig) -> Tensor | None:
    """Return which edges are kept where an atom has more than allowed, (E,); None if none has."""
    limit = config.max_neighbors
    source, target = edge_index
    counts = torch.bincount(target, minlength=n_atoms)  # (N,)
    if limit is None or not target.numel() or int(counts.max()) <= limit:
        return None
    order = torch.argsort(target * n_atoms + source, stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts[target[order]]
    taken = rank + 1 if config.truncation == "without-self" else rank + (source > target).long()
    kept: Tensor = taken <= limit
    return kept
