"""Many structures that move, evaluated together, each with a neighbor list that lasts."""

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from tdncalc.batches import edge_budget, is_shortage, too_large
from tdncalc.errors import StructureError, TDNError
from tdncalc.geometry.graph import AtomicGraph, within
from tdncalc.moving_member import Member
from tdncalc.moving_state import Placed, State
from tdncalc.potential import Potential
from tdncalc.results import Results
from tdncalc.structures.checks import SAME_POINT
from tdncalc.torch_modes import undisturbed

__all__ = ["MovingBatch"]

_SAFETY = 1e-5  # Å, far above the rounding of a distance
_KERNEL_FACTOR = 4  # a compiled kernel keeps no tensors of edges, and is as fast with more

_Floats = NDArray[np.float64]


class MovingBatch:
    """Structures that are evaluated together again and again while they move.

    Each keeps its list of neighbors until one of its atoms has moved half a skin. Where memory runs
    out they are evaluated in smaller parts from then on.

    Parameters
    ----------
    potential
        The model.
    skin
        Å by which the lists reach further than the cutoff.

    Attributes
    ----------
    members
        The structures.
    counts
        Atoms of each, (B,).
    budget
        The size of what is evaluated at once.
    shortest
        The smallest distance between two atoms of a structure at the last evaluation, Å.
    """

    def __init__(self, potential: Potential, skin: float = 1.0) -> None:
        self.potential = potential
        self.skin = skin
        self.members: list[Member] = []
        self.counts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        factor = 1 if potential.choice.kernel() is None else _KERNEL_FACTOR
        self.budget = factor * edge_budget(potential.device, potential.dtype)
        self._anchor = np.empty((0, 3))
        self._anchor_cells = np.empty((0, 3, 3))
        self._parts: list[tuple[slice, slice, AtomicGraph]] | None = None
        self.shortest = potential.cutoff

    def member(self, atoms: Atoms) -> Member:
        """Make a structure ready to be added; raises StructureError if it cannot be evaluated."""
        return Member(self.potential, atoms, self.skin)

    def change(self, kept: NDArray[np.bool_], new: list[Member]) -> None:
        """Keep some of the structures, mask (B,), and append others."""
        atoms = np.repeat(kept, self.counts)
        counts = np.array([len(member.numbers) for member in new], dtype=np.int64)
        self.members = [m for m, keep in zip(self.members, kept, strict=True) if keep] + new
        self._anchor = np.concatenate([self._anchor[atoms], *(m.positions for m in new)])
        cells = (member.cell[None] for member in new)
        self._anchor_cells = np.concatenate([self._anchor_cells[kept], *cells])
        self.counts = np.concatenate([self.counts[kept], counts])
        self._parts = None

    def compute(
        self, positions: _Floats, cells: _Floats, *, stress: bool
    ) -> tuple[State, dict[int, TDNError]]:
        """Evaluate all structures where they are now.

        Parameters
        ----------
        positions, cells
            Å, (N, 3) and (B, 3, 3).
        stress
            Whether the derivatives by strain are wanted.

        Returns
        -------
        state
            The results; not a number for structures that failed.
        faults
            Which structures cannot be evaluated, and why.
        """
        return self.evaluate(self.place(positions, cells, stress=stress))

    @undisturbed
    def place(self, positions: _Floats, cells: _Floats, *, stress: bool) -> Placed:
        """Say where all structures are now, as for :meth:`compute`, and see to their lists."""
        faults = self._follow(positions, cells)
        self._cut()
        n_atoms, n_structures = len(positions), len(cells)
        state = State(
            positions,
            cells,
            np.full(n_atoms, np.nan),
            np.full(n_structures, np.nan),
            np.full((n_atoms, 3), np.nan),
            np.full((n_structures, 3, 3), np.nan) if stress else None,
            None if self.potential.novelty is None else np.full(n_atoms, np.nan),
        )
        return Placed(state, faults)

    @undisturbed
    def evaluate(self, placed: Placed) -> tuple[State, dict[int, TDNError]]:
        """Evaluate all structures where they were said to be; returns what :meth:`compute` does."""
        state, faults = placed.state, placed.faults
        self.shortest = self.potential.cutoff
        done = 0
        while done < len(state.cells):
            done = self._compute_part(done, state, state.strain_gradient is not None, faults)
        return state, faults

    def _compute_part(
        self, first: int, state: State, stress: bool, faults: dict[int, TDNError]
    ) -> int:
        """Evaluate the part that begins with a structure; say where the next one begins."""
        part, atoms, graph = next(p for p in self._cut() if p[0].start == first)
        moved = replace(
            graph,
            positions=torch.from_numpy(state.positions[atoms]),
            cell=torch.from_numpy(state.cells[part]),
        )
        try:
            results, shortest = self._evaluate(moved, stress)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            size = sum(member.size for member in self.members[part])
            if graph.n_structures > 1:
                self.budget, self._parts = size // 2, None
                return 0  # the cuts lie elsewhere now
            faults[first] = too_large(graph)
            return int(part.stop)
        self._store(state, part, atoms, results)
        self.shortest = min(self.shortest, shortest)
        if shortest < SAME_POINT:
            self._find_faults(state, part, faults)
        return int(part.stop)

    def _evaluate(self, graph: AtomicGraph, stress: bool) -> tuple[Results, float]:
        """Evaluate a graph that lists more than the edges; give the smallest distance too."""
        potential = self.potential
        if not potential.choice.takes_pairs():
            graph = within(graph.to(potential.device), potential.cutoff)
        results = potential.compute(graph, stress=stress)
        shortest = results.shortest
        return results, potential.cutoff if shortest is None else shortest

    def _store(self, state: State, part: slice, atoms: slice, results: Results) -> None:
        assert results.forces is not None
        state.energies[atoms] = results.energies.cpu().numpy()
        state.energy[part] = results.energy.cpu().numpy()
        state.forces[atoms] = results.forces.cpu().numpy()
        if state.strain_gradient is not None and results.strain_gradient is not None:
            state.strain_gradient[part] = results.strain_gradient.cpu().numpy()
        if state.novelties is not None and results.novelties is not None:
            state.novelties[atoms] = results.novelties.cpu().numpy()

    def _find_faults(self, state: State, part: slice, faults: dict[int, TDNError]) -> None:
        ends = np.cumsum(self.counts)
        for index in range(part.start, part.stop):
            own = slice(ends[index] - len(self.members[index].numbers), ends[index])
            fault = self.members[index].fault(state.positions[own], state.cells[index])
            if fault is not None:
                faults[index] = fault

    def _follow(self, positions: _Floats, cells: _Floats) -> dict[int, TDNError]:
        """Search anew the neighbors of structures that have moved; tell which cannot be."""
        moved = np.square(positions - self._anchor).sum(axis=1)  # (N,)
        starts = np.cumsum(self.counts) - self.counts
        near = np.maximum.reduceat(moved, starts) < (max(self.skin - _SAFETY, 0.0) / 2) ** 2
        far = ~near  # also what is no number
        far |= (cells != self._anchor_cells).any(axis=(1, 2))
        faults: dict[int, TDNError] = {}
        for index in np.flatnonzero(far):
            member, start = self.members[index], starts[index]
            own = slice(start, start + len(member.numbers))
            try:
                if member.follow(positions[own], cells[index]):
                    self._anchor[own], self._anchor_cells[index] = positions[own], cells[index]
                    self._parts = None
            except StructureError as error:
                faults[int(index)] = error
        return faults

    def _cut(self) -> list[tuple[slice, slice, AtomicGraph]]:
        """Join the graphs of as many structures as may be evaluated at once, one after another."""
        if self._parts is None:
            self._parts, first, atom = [], 0, 0
            for sizes in _runs([member.size for member in self.members], self.budget):
                part = slice(first, first + sizes)
                atoms = slice(atom, atom + int(self.counts[part].sum()))
                graph = self._joined(part, atoms).to(self.potential.device)
                self._parts.append((part, atoms, graph))
                first, atom = part.stop, atoms.stop
        return self._parts

    def _joined(self, part: slice, atoms: slice) -> AtomicGraph:
        """Return the graph of some structures and their atoms, where they were last searched.

        NumPy joins: PyTorch would wake its threads, which spin where others could work.
        """
        members, counts = self.members[part], self.counts[part]
        n_pairs = [member.edge_index.shape[1] for member in members]
        edge_index = np.concatenate([member.edge_index for member in members], axis=1)
        edge_index += np.repeat(np.cumsum(counts) - counts, n_pairs)
        return AtomicGraph(
            numbers=torch.from_numpy(np.concatenate([member.numbers for member in members])),
            positions=torch.from_numpy(self._anchor[atoms]),
            cell=torch.from_numpy(self._anchor_cells[part]),
            pbc=torch.from_numpy(np.stack([member.pbc for member in members])),
            edge_index=torch.from_numpy(edge_index),
            edge_shift=torch.from_numpy(np.concatenate([m.edge_shift for m in members])),
            batch=torch.from_numpy(np.repeat(np.arange(len(members)), counts)),
        )


def _runs(sizes: list[int], budget: int) -> list[int]:
    """Cut a list of sizes into runs of at most a budget, but at least one each; count them."""
    runs, room = [0], budget
    for size in sizes:
        if runs[-1] and size > room:
            runs, room = [*runs, 0], budget
        runs[-1] += 1
        room -= size
    return runs
