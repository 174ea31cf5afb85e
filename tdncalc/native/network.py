"""The compiled network: from a graph to energies, forces and virial in one call."""

import ctypes
import threading
import weakref
from collections.abc import Callable
from ctypes import c_double, c_float, c_int, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tdncalc.geometry.graph import AtomicGraph
from tdncalc.native.source import network_header, sizes_header
from tdncalc.native.tables import RadialTables, pack_weights, pair_constants
from tdncalc.nn.bound import FLOOR_DEPTH
from tdncalc.nn.repulsion import SCREENING, WALL
from tdncalc.tdn import SATURATION, TDN
from tdncalc.torch_modes import undisturbed

__all__ = ["NativeNetwork", "NativeResults", "headers", "unsupported"]

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tdn_model": (
        c_void_p,
        [
            c_void_p,
            c_int64,
            c_void_p,
            c_void_p,
            c_float,
            c_void_p,
            c_void_p,
            c_float,
            c_float,
            c_double,
            c_float,
            c_float,
            c_int,
        ],
    ),
    "tdn_free_model": (None, [c_void_p]),
    "tdn_set_radial": (None, [c_void_p, c_int, c_int, c_void_p]),
    "tdn_memory": (c_void_p, []),
    "tdn_free_memory": (None, [c_void_p]),
    "tdn_list": (c_int, [c_int, c_int, c_int64, c_void_p, c_void_p, c_int, *[c_void_p] * 3]),
    "tdn_free_list": (None, [c_void_p]),
    "tdn_compute": (c_int, [*[c_void_p] * 6, c_int, *[c_void_p] * 7]),
}
_F4, _F8 = torch.float32, torch.float64
_NOT_BOTH_WAYS = 2  # what tdn_list returns
_FEW = 4000  # atoms whose memory is kept from one list to the next
_EXACT = 1e-9  # residual up to which factors count as the tensor itself


@dataclass(frozen=True)
class NativeResults:
    """What the kernel says of N atoms in B structures.

    Attributes
    ----------
    energies
        Interaction energies in eV, (N,).
    forces, strain_gradient
        eV/Å, (N, 3), and ∂E/∂ε in eV, (B, 3, 3), if asked for.
    descriptors
        Scalars of each atom after each layer, (N, n_layers · C), if asked for.
    shortest
        The smallest distance between two atoms in Å, or the cutoff if all are further apart.
    novelties
        Of each atom, (N,), if tables of distances were given.
    """

    energies: Tensor
    forces: Tensor | None
    strain_gradient: Tensor | None
    descriptors: Tensor | None
    shortest: float
    novelties: Tensor | None


def unsupported(network: object) -> str | None:
    """Return why the kernel cannot evaluate a network, or None."""
    if not isinstance(network, TDN):
        return "the kernel knows the default network only"
    config = network.config
    if not 1 <= config.l_max <= 3:
        return f"the kernel knows degrees 1 to 3, not {config.l_max}"
    if config.channels % 4 or config.edge_channels % 4:
        return "the kernel needs channels in multiples of 4"
    inexact = "cp-approximate" in (config.edge_product, config.node_product)
    if inexact or network.coupling.factors.residual > _EXACT:
        return "the kernel knows exact products only"
    return None


def headers(network: TDN) -> dict[str, str]:
    """Return the generated sources of a network's kernel by name."""
    return {"sizes.h": sizes_header(network), "network.h": network_header(network)}


class NativeNetwork:
    """A network evaluated by its compiled kernel, in float32, on the CPU.

    Parameters
    ----------
    network
        The network; its weights are copied.
    library
        The kernel compiled for it.

    Raises
    ------
    OSError
        The library cannot be loaded.
    """

    @undisturbed
    def __init__(self, network: TDN, library: Path) -> None:
        self._library = _load(library)
        self._tables = RadialTables(network)
        self._n_elements = len(network.config.elements)
        self._n_layers = network.config.n_layers
        self._width = network.config.channels * network.config.n_layers
        self._known: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
        self._model = self._make_model(network)
        self._memory = self._make_memory()
        self._lists = WeakTensorKeyDictionary()
        self._lock = threading.Lock()

    def _make_model(self, network: TDN) -> "_Handle":
        weights, pairs = pack_weights(network), pair_constants(network)
        lowest, *layers = (bound.float().cpu() for bound in network.bounds().values())
        largest = torch.stack(layers)
        screening = np.array(SCREENING, dtype="f4").T.ravel()
        tables = self._tables
        model = self._library.tdn_model(
            _address(weights),
            len(weights),
            _address(pairs),
            _place(lowest),
            FLOOR_DEPTH,
            _place(largest),
            _address(screening),
            WALL,
            SATURATION,
            network.config.cutoff,
            tables.origin,
            tables.step,
            tables.n_intervals,
        )
        if not model:
            raise OSError("the compiled kernel is of another network")
        return _Handle(model, self._library.tdn_free_model)

    def _make_memory(self) -> "_Handle":
        return _Handle(self._library.tdn_memory(), self._library.tdn_free_memory)

    def compute(
        self,
        graph: AtomicGraph,
        elements: Tensor,
        *,
        forces: bool,
        stress: bool,
        descriptors: bool = False,
        distance: Tensor | None = None,
    ) -> NativeResults:
        """Evaluate a graph of atoms with element indices (N,).

        The graph may list pairs beyond the cutoff, and must list every pair in both directions. Its
        list is prepared once for as long as there is its ``edge_index``. With the tables of
        a :class:`tdncalc.novelty.Novelty` it measures novelties.
        """
        with self._lock:  # the library works without Python's lock, and on one memory
            return self._compute(graph, elements, forces, stress, descriptors, distance)

    def _compute(
        self,
        graph: AtomicGraph,
        elements: Tensor,
        forces: bool,
        stress: bool,
        descriptors: bool,
        distance: Tensor | None,
    ) -> NativeResults:
        n_atoms, n_structures = len(graph.numbers), graph.n_structures
        species = elements.to(torch.int32)
        self._learn(np.unique(species.numpy()).tolist())
        pairs, memory = self._prepared(graph)
        energies = torch.empty(n_atoms, dtype=_F8)
        gradient = torch.empty(n_atoms, 3, dtype=_F8) if forces or stress else None
        virial = torch.empty(n_structures, 3, 3, dtype=_F8) if stress else None
        scalars = torch.empty(n_atoms, self._width, dtype=_F4) if descriptors else None
        nearest = torch.empty(n_atoms, dtype=_F8)
        novelties = None if distance is None else torch.empty(n_atoms, dtype=_F8)
        positions, cell = graph.positions.contiguous(), graph.cell.contiguous()  # while it computes
        failed = self._library.tdn_compute(
            self._model,
            memory,
            pairs,
            _place(species),
            _place(positions),
            _place(cell),
            torch.get_num_threads(),
            _place(energies),
            _place(gradient),
            _place(virial),
            _place(scalars),
            _place(nearest),
            _place(distance),
            _place(novelties),
        )
        if failed:
            raise MemoryError(f"{n_atoms} atoms do not fit into memory")
        shortest = nearest.min().item() ** 0.5
        return NativeResults(energies, gradient, virial, scalars, shortest, novelties)

    def _learn(self, elements: list[int]) -> None:
        """Give the kernel the radial tables of pairs of elements that it has not met."""
        new = [(a, b) for a in elements for b in elements if (a, b) not in self._known]
        if not new:
            return
        learned: dict[tuple[int, int], list[NDArray[np.float32]]] = {pair: [] for pair in new}
        for layer in range(self._n_layers):
            tables = self._tables.layer(layer, new)
            for (source, target), table in zip(new, tables, strict=True):
                place = source * self._n_elements + target
                self._library.tdn_set_radial(self._model, layer, place, _address(table))
                learned[source, target].append(table)
        self._known |= learned  # of all layers: it may have been interrupted, or out of memory

    def _prepared(self, graph: AtomicGraph) -> "_Prepared":
        """Return the list of a graph, and the memory to compute with."""
        if (known := self._lists.get(graph.edge_index)) is not None:
            return known  # type: ignore[no-any-return]
        source, target = graph.edge_index.to(torch.int32).contiguous()
        shift, batch = graph.edge_shift.contiguous(), graph.batch.contiguous()
        if wide := shift.dtype != torch.int16:
            shift = shift.to(torch.int32)
        address = c_void_p()
        failed = self._library.tdn_list(
            len(graph.numbers),
            graph.n_structures,
            graph.edge_index.shape[1],
            _place(source),
            _place(target),
            wide,
            _place(shift),
            _place(batch),
            ctypes.byref(address),
        )
        if failed == _NOT_BOTH_WAYS:
            raise ValueError("the graph does not list every pair in both directions")
        if failed or address.value is None:
            raise MemoryError(f"{graph.edge_index.shape[1]} pairs do not fit into memory")
        pairs = _Handle(address.value, self._library.tdn_free_list)
        # that of a large structure leaves with its list, and makes room for the search of the next
        shared = graph.n_structures > 1 or len(graph.numbers) <= _FEW
        prepared = pairs, self._memory if shared else self._make_memory()
        self._lists[graph.edge_index] = prepared
        return prepared


class _Handle:
    """An object of the library, freed with this one; not as Python exits: threads may compute."""

    def __init__(self, address: int, free: Callable[[int], None]) -> None:
        self._as_parameter_ = c_void_p(address)
        weakref.finalize(self, free, address).atexit = False


_Prepared: TypeAlias = tuple[_Handle, _Handle]


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


def _place(tensor: Tensor | None) -> int | None:
    # ten times as fast as an array tells its own, which a step of a small molecule feels
    return None if tensor is None else tensor.data_ptr()
