"""The default network: from a graph of atoms to the energy of each atom."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import ase.data
import ase.units
import torch
from torch import Tensor, nn

from tdncalc.errors import ConfigError
from tdncalc.nn.bound import bounded_below
from tdncalc.nn.coupling import EXACT_RANKS, Coupling
from tdncalc.nn.equivariant import scaled_normal
from tdncalc.nn.interaction import Edges, Interaction, LayerSizes
from tdncalc.nn.radial import BesselBasis, envelope, saturate
from tdncalc.nn.repulsion import Repulsion
from tdncalc.nn.spherical import SphericalHarmonics
from tdncalc.nn.tensor_product import Evaluation
from tdncalc.settings import above_zero, build, chemical_symbols

__all__ = ["SATURATION", "TDN", "Readout", "TDNConfig"]

# Below this fraction of the shortest distance in the training set the network feels no change of a
# length and only the repulsion acts: what it never saw it must not extrapolate.
SATURATION = 0.85

_POSITIVE = (
    *("cutoff", "n_layers", "correlation", "channels", "edge_channels", "n_radial", "hidden"),
    *("n_neighbors", "energy_scale"),
)


@dataclass(frozen=True)
class TDNConfig:
    """The hyper-parameters of a :class:`TDN`; they live in its checkpoint.

    Attributes
    ----------
    elements
        Chemical symbols the network knows, in the order of its tables.
    cutoff
        Å; no edge is longer.
    n_layers, l_max, correlation
        Interactions, the largest degree L of features and harmonics, and the largest power ν of a
        node product.
    channels, edge_channels
        Channels of a node's features and of a message.
    n_radial, hidden
        Radial functions K, and width of the network of radial weights.
    n_neighbors
        Average number of neighbors in the training set.
    energy_scale
        eV; the network's output is in units of it.
    edge_product, node_product
        How the tensor products of messages and of nodes are evaluated.
    """

    elements: tuple[str, ...]
    cutoff: float = 5.0
    n_layers: int = 2
    l_max: int = 2
    correlation: int = 3
    channels: int = 64
    edge_channels: int = 32
    n_radial: int = 8
    hidden: int = 64
    n_neighbors: float = 20.0
    energy_scale: float = 1.0
    edge_product: Evaluation = "dense"
    node_product: Evaluation = "cp"

    def __post_init__(self) -> None:
        """Check what cannot be right for any model."""
        if not chemical_symbols(self.elements, "model: elements"):
            raise ConfigError("model: elements is empty, but must name those of the data")
        above_zero(self, _POSITIVE, "model")
        highest = max(EXACT_RANKS["O3", "gaunt"])
        if not 0 <= self.l_max <= highest:
            raise ConfigError(f"model: l_max is {self.l_max}, but must be 0 to {highest}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self) | {"elements": list(self.elements)}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "TDNConfig":
        """Make a configuration from plain types; a ConfigError names what is wrong."""
        return build(cls, settings, "model")


class TDN(nn.Module):
    """Tensor decomposition network: energies of atoms from the edges between them.

    Each interaction gathers the neighbors' features through the path-weight-shared product
    (arXiv:2507.01131), multiplies the result with itself, and adds to the atom's energy by a
    readout of its scalars. Invariant under rotation, reflection, translation and permutation;
    smooth at the cutoff; extensive. Two atoms much nearer than any in the training set repel each
    other, whatever the weights, and no atom's energy falls far below the lowest of its element in
    the training set. An atom without neighbors has exactly its reference energy.

    Parameters
    ----------
    config
        The hyper-parameters.
    coupling
        The coupling tensor and its factors, of degree ``config.l_max``.

    Attributes
    ----------
    lowest
        Lowest energy that the layers gave an atom of each element in the training set, in eV,
        (n_elements,), see `tdncalc.nn.bound`; −∞ until it is measured, and while a model learns.
    """

    places: Tensor
    reference_energies: Tensor
    lowest: Tensor

    def __init__(self, config: TDNConfig, coupling: Coupling) -> None:
        super().__init__()
        self.config = config
        self.coupling = coupling
        n_elements, n_layers = len(config.elements), config.n_layers
        numbers = [ase.data.atomic_numbers[symbol] for symbol in config.elements]
        # a repulsion that reached beyond the cutoff would be cut off abruptly
        radii = ase.data.covalent_radii[numbers].clip(max=config.cutoff / 2)
        self._table("places", _places(numbers))
        self.register_buffer("reference_energies", torch.zeros(n_elements, dtype=torch.float64))
        self.register_buffer("lowest", torch.full((n_elements,), -torch.inf))
        self.register_load_state_dict_pre_hook(_without_bounds)  # type: ignore[no-untyped-call]
        self.embedding = nn.Parameter(torch.randn(n_elements, 1, config.channels))
        self.harmonics = SphericalHarmonics(config.l_max, coupling.tensor)
        self.basis = BesselBasis(config.n_radial, config.cutoff)
        coulomb = ase.units.Hartree * ase.units.Bohr
        self.repulsion = Repulsion(
            torch.tensor(numbers).double(), torch.as_tensor(radii, dtype=torch.float64), coulomb
        )
        self.interactions = nn.ModuleList(
            Interaction(coupling, _sizes(config, layer), config.edge_product, config.node_product)
            for layer in range(n_layers)
        )
        self.readouts = nn.ModuleList(Readout(config.channels) for _ in range(n_layers))

    def _table(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def bounds(self) -> dict[str, Tensor]:
        """Return the lowest energies, and the largest norms of each layer, by their names."""
        layers = range(self.config.n_layers)
        largest = [f"interactions.{layer}.largest" for layer in layers]
        return {name: self.get_buffer(name) for name in ("lowest", *largest)}

    def unbind(self) -> None:
        """Forget the bounds: a network that learns has none."""
        for name, bound in self.bounds().items():
            bound.fill_(-torch.inf if name == "lowest" else torch.inf)

    def element_indices(self, numbers: Tensor) -> Tensor:
        """Return the place of each atomic number (N,) in ``config.elements``, (N,) int64."""
        return self.places.index_select(0, numbers)

    def forward(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Return the interaction energy of each atom in eV, without the reference energies, (N,).

        Parameters
        ----------
        elements
            Element indices, (N,) int64.
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
        edges = self._edges(elements, edge_index, vectors)
        energies = vectors.new_zeros(elements.shape[0])
        scalars = []
        for x, readout in zip(self._layers(elements, edges), self.readouts, strict=True):
            scalars.append(x[:, 0])
            energies = energies + readout(x[:, 0])
        lowest = self.lowest.index_select(0, elements)
        energies = bounded_below(energies * self.config.energy_scale, lowest)
        repulsion = self.repulsion(edges.lengths, edges.source_elements, edges.target_elements)
        return energies.index_add(0, edges.target, repulsion), torch.cat(scalars, dim=1)

    def repulsion_energies(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Return what :meth:`forward` holds of the repulsion at short distances, (N,) in eV."""
        source, target = edge_index
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        of_edges = self.repulsion(lengths, elements[source], elements[target])
        return vectors.new_zeros(elements.shape[0]).index_add(0, target, of_edges)

    def descriptors(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Return the scalars of each atom after each layer, (N, n_layers · C)."""
        return self.energies_and_descriptors(elements, edge_index, vectors)[1]

    def _layers(self, elements: Tensor, edges: Edges) -> Iterator[Tensor]:
        x = self.embedding.index_select(0, elements)  # (N, 1, C)
        for interaction in self.interactions:
            x = interaction(x, elements, edges)  # (N, D, C)
            yield x

    def _edges(self, elements: Tensor, edge_index: Tensor, vectors: Tensor) -> Edges:
        source, target = edge_index
        ends = [elements.index_select(0, atoms) for atoms in (source, target)]
        lengths = torch.linalg.vector_norm(vectors, dim=1)  # (E,)
        seen = self.repulsion.seen(*ends)
        felt = saturate(lengths, SATURATION * seen, seen)
        return Edges(
            source=source,
            target=target,
            source_elements=ends[0],
            target_elements=ends[1],
            lengths=lengths,
            harmonics=self.harmonics(vectors / lengths[:, None]),  # (E, D)
            basis=self.basis(felt),  # (E, K)
            falloff=envelope(felt, self.config.cutoff),
        )


class Readout(nn.Module):
    """Energy of an atom from its scalars, linear plus one hidden layer, 0 for zero features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Parameter(scaled_normal(channels, 1) * 0.1)
        self.inner = nn.Parameter(scaled_normal(channels, channels))
        self.outer = nn.Parameter(scaled_normal(channels, 1) * 0.1)

    def forward(self, scalars: Tensor) -> Tensor:
        """Map scalars (N, C) to energies (N,)."""
        hidden = nn.functional.silu(scalars @ self.inner)  # (N, C)
        return (scalars @ self.linear + hidden @ self.outer)[:, 0]


def _without_bounds(network: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Let a state that was saved without bounds load as one that has none."""
    assert isinstance(network, TDN)
    for name, bound in network.bounds().items():
        state.setdefault(f"{prefix}{name}", bound)


def _places(numbers: list[int]) -> Tensor:
    """Return a table from atomic number to place in the list, −1 for those not in it, (119,)."""
    places = torch.full((len(ase.data.chemical_symbols),), -1)
    places[numbers] = torch.arange(len(numbers))
    return places


def _sizes(config: TDNConfig, layer: int) -> LayerSizes:
    """Sizes of a layer: the first one sends scalars only, the last one keeps scalars only."""
    return LayerSizes(
        l_in=0 if layer == 0 else config.l_max,
        l_edge=config.l_max,
        l_out=0 if layer == config.n_layers - 1 else config.l_max,
        n_elements=len(config.elements),
        channels=config.channels,
        edge_channels=config.edge_channels,
        n_radial=config.n_radial,
        hidden=config.hidden,
        correlation=config.correlation,
        n_neighbors=config.n_neighbors,
    )
