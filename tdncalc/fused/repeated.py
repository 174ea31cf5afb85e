"""Evaluations on a GPU: recorded where the same edges come again, as in molecular dynamics."""

import logging
import threading
from dataclasses import replace

import torch
from torch import Tensor

from tdncalc.fused.device import on_device
from tdncalc.fused.padding import fits, pad_edges, room
from tdncalc.fused.recording import (
    MOVING,
    Evaluate,
    Found,
    Recorder,
    Recording,
    cuda_graph,
)
from tdncalc.geometry.graph import AtomicGraph, within

__all__ = ["Repeated"]

logger = logging.getLogger(__name__)

# Above, the GPU is busy with the edges and not with the launches that a recording saves, and pairs
# beyond the cutoff, which a recording computes too, are better left out.
_MOST_EDGES = 200_000

# Evaluations of one size before it is recorded, which takes about as long: structures that are
# relaxed are done, or leave their batch, after a few steps.
_PATIENCE = 8


class Repeated:
    """Evaluates graphs that may list pairs beyond the cutoff.

    When several graphs of one size have come, and the same list of pairs for a second time, what
    the GPU does is recorded, for a few more pairs than there are, and replayed from then on, also
    with other lists. It is recorded anew when the number of atoms, structures or results changes,
    or that of pairs by much.

    Parameters
    ----------
    cutoff
        Å.
    device
        The GPU.
    record
        What records.

    Attributes
    ----------
    record
        What records; None where that turned out to be impossible.
    """

    def __init__(self, cutoff: float, device: torch.device, record: Recorder = cuda_graph) -> None:
        self.cutoff, self.device = cutoff, device
        self.record: Recorder | None = record
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._recorded: tuple[str, int, int] | tuple[()] = ()
        self._waiting: tuple[str, int, int] | tuple[()] = ()  # what comes and is not recorded yet
        self._n_waiting = 0
        self._in_recording: Tensor | None = None  # the list that the recording holds
        self._listed: Tensor | None = None  # the one seen last
        self._pairs: AtomicGraph | None = None

    def compute(self, evaluate: Evaluate, graph: AtomicGraph, results: str) -> Found:
        """Evaluate a graph, with a name for what is evaluated; without one it is not recorded."""
        with self._lock, on_device(self.device):  # a recording is one memory
            return self._compute(evaluate, graph, results)

    def _compute(self, evaluate: Evaluate, graph: AtomicGraph, results: str) -> Found:
        known = graph.edge_index is self._listed
        size = (results, len(graph.numbers), graph.n_structures)
        if results and self.record is not None and graph.edge_index.shape[1] <= _MOST_EDGES:
            if self._usable(graph, size):
                return self._replayed(graph)
            if known and self._worthwhile(size):
                found = self._recorded_now(evaluate, graph, size)
                if found is not None:
                    return found
        return self._once(evaluate, graph, known=known)

    def _usable(self, graph: AtomicGraph, size: tuple[str, int, int]) -> bool:
        recording, n_edges = self._recording, graph.edge_index.shape[1]
        return recording is not None and size == self._recorded and fits(n_edges, recording.n_edges)

    def _worthwhile(self, size: tuple[str, int, int]) -> bool:
        """Tell whether a size comes often enough to be recorded; counts how often."""
        self._n_waiting = self._n_waiting + 1 if size == self._waiting else 1
        self._waiting = size
        return self._n_waiting >= _PATIENCE

    def _replayed(self, graph: AtomicGraph) -> Found:
        assert self._recording is not None
        if graph.edge_index is not self._in_recording:
            self._in_recording = None  # until all of it is there
            padded = self._padded(graph, self._recording.n_edges)
            self._recording.list_edges(*padded)
            self._in_recording = graph.edge_index
        if graph.edge_index is not self._listed:
            self._listed, self._pairs = graph.edge_index, None
        return self._recording.compute(graph)

    def _recorded_now(
        self, evaluate: Evaluate, graph: AtomicGraph, size: tuple[str, int, int]
    ) -> Found | None:
        assert self.record is not None
        self._recording = self._in_recording = None  # memory is free before another is made
        try:
            padded = self._padded(graph, room(graph.edge_index.shape[1]))
            self._recording = Recording(evaluate, *padded, self.record)
        except Exception as error:  # noqa: BLE001 - also of memory, of which a recording takes more
            logger.info("steps are not recorded: %s", error)
            self.record = None
            return None
        self._recorded, self._in_recording = size, graph.edge_index
        self._n_waiting = 0
        logger.info(
            "steps of %d atoms are recorded, with room for %d pairs",
            size[1],
            self._recording.n_edges,
        )
        return self._recording.compute(graph)

    def _once(self, evaluate: Evaluate, graph: AtomicGraph, *, known: bool) -> Found:
        """Evaluate without the pairs beyond the cutoff."""
        if not known or self._pairs is None:
            self._listed, self._pairs = graph.edge_index, graph.to(self.device)
        moved = {name: getattr(graph, name).to(self.device) for name in MOVING}
        edges = within(replace(self._pairs, **moved), self.cutoff)
        return evaluate(edges, edges.positions.new_zeros(()))

    def _padded(self, graph: AtomicGraph, n_edges: int) -> tuple[AtomicGraph, Tensor]:
        return pad_edges(graph.to(self.device), n_edges, 2 * self.cutoff)
