"""From the energy of a network to forces, stress and second derivatives, in batches."""

import pickle
import warnings
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tdncalc.architectures import Network, traits
from tdncalc.batches import backing_off, edge_budget, in_batches
from tdncalc.derivatives import forces_of, jacobian, strain_gradient, sum_by
from tdncalc.dispersion import Dispersion
from tdncalc.errors import OptionError
from tdncalc.fused.gpu_choice import GPUChoice
from tdncalc.fused.repeated import Repeated
from tdncalc.geometry.graph import AtomicGraph, edge_vectors, make_graph
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.native.choice import Choice, Evaluation
from tdncalc.native.network import NativeNetwork
from tdncalc.novelty import Novelty
from tdncalc.published.network import PublishedTDN
from tdncalc.results import PROPERTIES, Properties, Results, split_results
from tdncalc.structures import check, check_elements, require_several, to_atoms
from tdncalc.structures.pyg import is_pyg, split_pyg
from tdncalc.tdn import TDN
from tdncalc.torch_modes import undisturbed

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

    from tdncalc.structures import AnyStructure

__all__ = ["Potential"]

_CPU = torch.device("cpu")


class Potential:
    r"""A network with its card, ready to evaluate structures.

    Forces and stress are derivatives of the one energy with respect to the edge vectors
    :math:`d_e = r_j + s·cell - r_i`, with :math:`g_e = ∂E/∂d_e`: the force on atom i is
    :math:`\sum_{e: i\ target} g_e - \sum_{e: i\ source} g_e` and the derivative by the strain,
    r → r(1 + ε) and cell → cell(1 + ε), is :math:`\sum_e d_e ⊗ g_e` (Knuth et al., Comput. Phys.
    Commun. 190, 33 (2015)). Stress σ = (1/V) ∂E/∂ε with V = \|det cell\|: positive under tension.

    Parameters
    ----------
    network
        The network; its parameters are frozen.
    card
        What is known about the model: name, elements, theory, errors.
    device
        Where to evaluate.
    dtype
        The network's precision; positions, sums and results are float64 always.
    evaluation
        ``auto``, ``eager`` or ``compiled``, see :class:`tdncalc.native.choice.Choice` and, on a
        GPU, :class:`tdncalc.fused.gpu_choice.GPUChoice`.
    novelty
        What measures how unlike the training set a structure is; None leaves it out.
    dispersion
        What is added to all that the network says of energies; None adds nothing.
    """

    def __init__(
        self,
        network: Network,
        card: dict[str, Any],
        *,
        device: torch.device,
        dtype: torch.dtype,
        evaluation: Evaluation = "auto",
        novelty: Novelty | None = None,
        dispersion: Dispersion | None = None,
    ) -> None:
        reference = network.reference_energies.double()
        self.network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.reference_energies = reference.to(device)
        self.card = card
        self.name = str(card["name"])
        self.elements = network.config.elements
        self.cutoff = network.config.cutoff
        self.direct_forces, self._per_atom = traits(network.config)
        self.device = device
        self.dtype = dtype
        self.dispersion = dispersion
        self.novelty = None if novelty is None else novelty.to(device)
        self._distance = None if novelty is None else novelty.tables()
        choose = GPUChoice if device.type == "cuda" else Choice
        self.choice = choose(self.network, evaluation, device, dtype)

    @undisturbed
    def __reduce__(self) -> tuple[Callable[[bytes], "Potential"], tuple[bytes]]:
        """Leave copies and pickles to a function that the modes of its caller do not touch.

        Those of a GPU hold tensors of the CPU, and find a place where they are opened.
        """
        if self.device.type == "cpu" or not isinstance(self.choice, GPUChoice):
            return _restored, (pickle.dumps(vars(self)),)
        moved = {
            "network": deepcopy(self.network).cpu(),
            "novelty": None if self.novelty is None else self.novelty.to(_CPU),
            "evaluation": self.choice.wanted,
        }
        kept = {name: getattr(self, name) for name in ("card", "device", "dtype", "dispersion")}
        return _placed, (pickle.dumps((kept | moved, self.reference_energies.cpu())),)

    @property
    def identity(self) -> dict[str, str]:
        """Name and sha256 of the model, and its dispersion if any; empty if it was never saved."""
        if (sha256 := self.card.get("sha256")) is None:
            return {}
        identity = {"name": self.name, "sha256": sha256}
        return identity | ({"dispersion": str(self.dispersion)} if self.dispersion else {})

    @property
    def evaluation(self) -> str:
        """Which evaluation runs at present, ``eager`` or ``compiled``."""
        return self.choice.name()

    @property
    def compiling(self) -> bool:
        """Whether PyTorch evaluates only until the kernel is compiled."""
        return self.choice.compiling()

    def settle(self, *, wait: bool) -> None:
        """Keep to one evaluation from now on: the kernel if it is there, or waited for."""
        self.choice.settle(wait=wait)

    @undisturbed
    def in_pytorch(self) -> "Potential":
        """Return the same model as PyTorch evaluates it, to compare with."""
        network = deepcopy(self.network)
        return Potential(
            network,
            self.card,
            device=self.device,
            dtype=self.dtype,
            evaluation="eager",
            dispersion=self.dispersion,
        )

    @undisturbed
    def compute(
        self,
        graph: AtomicGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        descriptors: bool = False,
    ) -> Results:
        """Evaluate a graph; derivatives only where asked for.

        The graph may list pairs beyond the cutoff: they change nothing. A compiled kernel prepares
        its list once for as long as there is its ``edge_index``.
        """
        results = self._network_results(graph, forces, stress, descriptors)
        return results if self.dispersion is None else self.dispersion.add(graph, results)

    def _network_results(
        self, graph: AtomicGraph, forces: bool, stress: bool, descriptors: bool
    ) -> Results:
        """Evaluate the network at a graph."""
        if (kernel := self.choice.kernel()) is not None:
            return self._compiled(kernel, graph, forces, stress, descriptors)
        rounded = self.choice.rounds_products()
        if isinstance(self.choice, GPUChoice) and self.choice.fused is not None:
            wanted = "stress" if stress else "forces" if forces else ""
            name = f"{wanted} in TF32" if wanted and rounded else wanted
            return self._fused(self.choice.fused, self.choice.repeated, graph, name)
        graph = graph.to(self.device)
        if self.direct_forces:
            return self._direct(graph, forces)
        return _results(self._found(self.network, graph, edge_vectors(graph), forces, stress))

    def _fused(self, network: TDN, repeated: Repeated, graph: AtomicGraph, wanted: str) -> Results:
        """Evaluate by the kernels what a name, under which it is recorded, begins with."""
        stress, forces = wanted.startswith("stress"), bool(wanted)

        def evaluate(moved: AtomicGraph, offsets: Tensor) -> dict[str, Tensor]:
            return self._found(network, moved, edge_vectors(moved) + offsets, forces, stress)

        return _results(repeated.compute(evaluate, graph, wanted))

    def _found(
        self, network: Network, graph: AtomicGraph, exact: Tensor, forces: bool, stress: bool
    ) -> dict[str, Tensor]:
        """Evaluate a network at edge vectors (E, 3) float64; fields of the results by name."""
        vectors = exact.detach().to(self.dtype).requires_grad_(forces or stress)
        elements = network.element_indices(graph.numbers)
        with torch.set_grad_enabled(vectors.requires_grad):
            interaction, features = self._forward(network, graph, elements, vectors)  # (N,), (N, F)
        energies = interaction.detach() + self.reference_energies[elements]
        lengths = torch.linalg.vector_norm(exact, dim=1)
        found = {
            "energies": energies,
            "energy": sum_by(energies, graph.batch, graph.n_structures),
            "descriptors": features,
            "shortest": torch.cat([lengths, lengths.new_full((1,), self.cutoff)]).amin(),
        }
        if self.novelty is not None:
            found["novelties"] = self.novelty.of(features, elements)
        if not vectors.requires_grad:
            return found
        (gradient,) = torch.autograd.grad(interaction, vectors, torch.ones_like(interaction))
        found["forces"] = forces_of(graph, gradient.double())
        if stress:
            found["strain_gradient"] = strain_gradient(graph, exact, gradient.double())
        return found

    def _compiled(
        self,
        kernel: NativeNetwork,
        graph: AtomicGraph,
        forces: bool,
        stress: bool,
        descriptors: bool,
    ) -> Results:
        elements = self.network.element_indices(graph.numbers)
        found = kernel.compute(
            graph,
            elements,
            forces=forces,
            stress=stress,
            descriptors=descriptors,
            distance=self._distance,
        )
        energies = found.energies + self.reference_energies[elements]
        return Results(
            energies,
            sum_by(energies, graph.batch, graph.n_structures),
            forces=found.forces,
            strain_gradient=found.strain_gradient,
            shortest=found.shortest,
            descriptors=found.descriptors,
            novelties=found.novelties,
        )

    def _interaction(self, graph: AtomicGraph, elements: Tensor, vectors: Tensor) -> Tensor:
        """Return the energy of each atom without its reference energy, (N,) float64."""
        return self._total(graph, self.network(elements, graph.edge_index, vectors).double())

    def _forward(
        self, network: Network, graph: AtomicGraph, elements: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`_interaction` does, and the features of each atom, (N, F)."""
        energies, features = network.energies_and_descriptors(elements, graph.edge_index, vectors)
        return self._total(graph, energies.double()), features.detach()

    def _total(self, graph: AtomicGraph, energies: Tensor) -> Tensor:
        """Turn shares (N,) of an energy per atom, if they are such, into shares of a total."""
        if not self._per_atom:
            return energies
        return energies * torch.bincount(graph.batch)[graph.batch]

    def _direct(self, graph: AtomicGraph, forces: bool) -> Results:
        """Evaluate a graph with the network's own forces, which are no derivatives."""
        assert isinstance(self.network, PublishedTDN)
        elements = self.network.element_indices(graph.numbers)
        vectors = edge_vectors(graph).to(self.dtype)
        with torch.no_grad():
            parts = self.network.energies_and_forces(elements, graph.edge_index, vectors)
        energies = self._total(graph, parts[0].double()) + self.reference_energies[elements]
        energy = sum_by(energies, graph.batch, graph.n_structures)
        return Results(energies, energy, forces=parts[1].double() if forces else None)

    @undisturbed
    def hessian(self, structure: "AtomicGraph | AnyStructure") -> Tensor:
        """Return ∂²E/∂r∂r of one structure in eV/Å², (3N, 3N) float64, symmetric."""
        if self.direct_forces:
            raise OptionError(
                f"model {self.name!r} has direct forces, and so no second derivatives"
            )
        self.choice.rounds_products()
        graph = self._graph_of(structure)
        positions = graph.positions.clone().requires_grad_(True)
        moving = AtomicGraph(**vars(graph) | {"positions": positions})
        elements = self.network.element_indices(graph.numbers)
        with torch.enable_grad():
            vectors = edge_vectors(moving).to(self.dtype)
            energy = self._interaction(graph, elements, vectors).sum()
            (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
            gradient = gradient.flatten()
        hessian = jacobian(gradient, positions, graph.edge_index.shape[1])
        if self.dispersion is not None:
            hessian = hessian + self.dispersion.hessian(graph)
        return (hessian + hessian.T) / 2

    @undisturbed
    def descriptors(self, structure: "AtomicGraph | AnyStructure") -> Tensor:
        """Return the invariant features of each atom after each layer, (N, n_layers · C)."""
        self.choice.rounds_products()
        graph = self._graph_of(structure)
        elements = self.network.element_indices(graph.numbers)
        vectors = edge_vectors(graph).to(self.dtype)
        with torch.no_grad():
            return self.network.descriptors(elements, graph.edge_index, vectors).double()

    @undisturbed
    def graph(self, structure: "AnyStructure", label: str = "structure") -> AtomicGraph:
        """Make the graph of one structure after checking that this model can evaluate it."""
        atoms = to_atoms(structure)
        check(atoms, label)
        check_elements(atoms.numbers, self.elements, self.name, label)
        edges = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, self.cutoff)
        return make_graph(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, *edges)

    def _graph_of(self, structure: "AtomicGraph | AnyStructure") -> AtomicGraph:
        own = structure if isinstance(structure, AtomicGraph) else self.graph(structure)
        return own.to(self.device)

    @undisturbed
    def evaluate(
        self,
        structures: "Sequence[AnyStructure] | Data | Batch",
        *,
        properties: Collection[str] = ("energy", "energies", "forces", "stress", "novelty"),
    ) -> list[Properties]:
        """Evaluate many structures together.

        Parameters
        ----------
        structures
            ASE atoms, pymatgen structures or molecules, also mixed; or a batch of PyG graphs with
            ``z`` and ``pos``, and ``cell`` and ``pbc`` where periodic.
        properties
            Which of energy, energies, forces, stress and novelty are wanted.

        Returns
        -------
        list of dict
            For each structure energy and free_energy in eV, energies (N,) in eV, forces (N, 3)
            in eV/Å and, where the cell has rank 3, stress (6,) in eV/Å³ and ASE's Voigt order;
            of a model that has it also novelties (N,) and novelty, the largest of them.

        Raises
        ------
        StructureError
            A structure has no atoms, bad positions, or an element that the model does not know.
        OptionError
            A property is none of these, or a single structure was given.
        OutOfMemoryError
            A single structure does not fit into memory. Of several together fewer are tried.
        """
        _check_properties(properties)
        require_several(structures, "evaluate")
        if is_pyg(structures):
            structures = split_pyg(structures)

        def compute(graph: AtomicGraph) -> list[Properties]:
            wanted = {name: name in properties for name in ("forces", "stress")}
            return split_results(graph, self.compute(graph, **wanted), properties)

        graphs = (self.graph(s, f"structure {index}") for index, s in enumerate(structures))
        parts = in_batches(graphs, edge_budget(self.device, self.dtype))
        return [one for part in parts for one in backing_off(compute, part)]


@undisturbed
def _restored(state: bytes) -> Potential:
    potential = object.__new__(Potential)
    vars(potential).update(pickle.loads(state))
    return potential


@undisturbed
def _placed(state: bytes) -> Potential:
    """Restore a potential on the GPU that it was on, or on another device with a warning."""
    given, reference_energies = pickle.loads(state)
    device = given["device"]
    if (device.index or 0) >= torch.cuda.device_count():
        here = torch.cuda.is_available()
        given["device"] = torch.device("cuda", torch.cuda.current_device()) if here else _CPU
        given["evaluation"] = "auto"
        warnings.warn(
            f"this model was on {device}, which is not on this machine: it is on "
            f"{given['device']} now",
            stacklevel=2,
        )
    potential = Potential(**given)
    potential.reference_energies = reference_energies.to(potential.device)
    return potential


def _results(found: dict[str, Tensor]) -> Results:
    shortest = float(found.pop("shortest"))
    return Results(shortest=shortest, **found)


def _check_properties(properties: Collection[str]) -> None:
    if isinstance(properties, str):
        raise OptionError(f"properties={properties!r} is a text; give a list, as [{properties!r}]")
    if unknown := [name for name in properties if name not in PROPERTIES]:
        raise OptionError(f"unknown property {unknown[0]!r}; allowed: {', '.join(PROPERTIES)}")
