"""An evaluation that is recorded once and replayed with other positions and edges."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from tdncalc.fused.row_memory import remember_rows
from tdncalc.fused.rows import make_rows
from tdncalc.geometry.graph import AtomicGraph

__all__ = ["MOVING", "Evaluate", "Found", "Recorder", "Recording", "cuda_graph"]

Found = dict[str, Tensor]

# From a graph, and what to add to its edge vectors (E, 3) or (), to results by name.
Evaluate = Callable[[AtomicGraph, Tensor], Found]

# Makes of a function that reads and writes always the same memory one that does so faster.
Recorder = Callable[[Callable[[], Found]], Callable[[], Found]]

_WARM_UPS = 3  # until kernels are compiled and checked, and libraries have their memory
_RECORDING = threading.Lock()  # a process can make one CUDA graph at a time
MOVING = ("numbers", "positions", "cell")
_LISTED = ("edge_index", "edge_shift", "batch")


def cuda_graph(function: Callable[[], Found]) -> Callable[[], Found]:
    """Record what a function has the present GPU do as one CUDA graph, and return what replays it.

    Other threads may use GPUs meanwhile.
    """
    # The stream that torch would take is of the GPU on which it first recorded: on another one the
    # graph would hold nothing.
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            function()
        with (
            _RECORDING,
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            found = function()
    torch.cuda.current_stream().wait_stream(stream)

    def replay() -> Found:
        graph.replay()
        return found

    return replay


class Recording:
    """An evaluation recorded for so many atoms, structures and edges.

    Parameters
    ----------
    evaluate
        What is recorded; it must not wait for the GPU.
    graph, offsets
        The first graph, on the GPU, and what to add to its edge vectors, (E, 3).
    record
        What records.
    """

    def __init__(
        self, evaluate: Evaluate, graph: AtomicGraph, offsets: Tensor, record: Recorder
    ) -> None:
        self._graph = AtomicGraph(**{name: value.clone() for name, value in vars(graph).items()})
        self._offsets = offsets.clone()
        self._rows = [make_rows(*ends, len(graph.numbers)) for ends in self._ends()]
        self._share_rows()
        self._replay = record(lambda: evaluate(self._graph, self._offsets))

    @property
    def n_edges(self) -> int:
        """For how many edges it was recorded."""
        return len(self._offsets)

    def list_edges(self, graph: AtomicGraph, offsets: Tensor) -> None:
        """Take other edges, as many as before, of structures with as many atoms."""
        for name in _LISTED:
            getattr(self._graph, name).copy_(getattr(graph, name))
        self._offsets.copy_(offsets)
        for rows, ends in zip(self._rows, self._ends(), strict=True):
            rows.copy_(make_rows(*ends, len(graph.numbers)))
        self._share_rows()

    def compute(self, graph: AtomicGraph) -> Found:
        """Evaluate at a graph's numbers, positions and cell, from any device."""
        for name in MOVING:
            getattr(self._graph, name).copy_(getattr(graph, name))
        return {name: value.clone() for name, value in self._replay().items()}

    def _ends(self) -> list[tuple[Tensor, Tensor]]:
        source, target = self._graph.edge_index
        return [(target, source), (source, target)]

    def _share_rows(self) -> None:
        """Have the kernels read these rows: their memory is what is recorded."""
        for rows, ends in zip(self._rows, self._ends(), strict=True):
            remember_rows(*ends, len(self._graph.numbers), rows)
