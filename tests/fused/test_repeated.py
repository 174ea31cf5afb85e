"""Recorded evaluations; what a GPU would record is run again in its place."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from tdncalc.fused import repeated as repeated_module
from tdncalc.fused.repeated import Repeated
from tdncalc.geometry.graph import edge_vectors, make_graph
from tdncalc.geometry.neighbors import neighbor_list


class Recorder:
    """Stands for a CUDA graph: it runs a function again, and knows how often it was made."""

    def __init__(self):
        self.made, self.replayed = 0, 0

    def __call__(self, function):
        self.made += 1

        def replay():
            self.replayed += 1
            return function()

        return replay


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(repeated_module, "_PATIENCE", 1)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def compute(potential, recorder):
    """Evaluate a graph as on a GPU, with the network as it is."""
    repeated = Repeated(potential.cutoff, torch.device("cpu"), recorder)

    def compute(graph, results="all"):
        def evaluate(moved, offsets):
            vectors = edge_vectors(moved) + offsets
            return potential._found(potential.network, moved, vectors, True, True)

        return repeated.compute(evaluate, graph, results)

    return compute


def pairs(atoms, reach):
    """Return the graph of more pairs than the edges."""
    edges = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, reach)
    return make_graph(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, *edges)


def moved(graph, seed):
    positions = np.random.default_rng(seed).normal(scale=0.05, size=graph.positions.shape)
    return dataclasses.replace(graph, positions=graph.positions + torch.from_numpy(positions))


def assert_right(potential, found, graph):
    cutoff = potential.cutoff
    near = torch.linalg.vector_norm(edge_vectors(graph), dim=1) < cutoff
    edges = {"edge_index": graph.edge_index[:, near], "edge_shift": graph.edge_shift[near]}
    exact = potential.compute(dataclasses.replace(graph, **edges), stress=True)
    for name in ("energies", "energy", "forces", "strain_gradient", "descriptors"):
        torch.testing.assert_close(found[name], getattr(exact, name), rtol=1e-11, atol=1e-11)
    assert float(found["shortest"]) == exact.shortest


def test_steps_with_the_same_pairs_are_recorded_once(potential, compute, recorder):
    graph = pairs(bulk("Si", cubic=True), potential.cutoff + 1)
    for seed in range(5):
        now = moved(graph, seed)
        assert_right(potential, compute(now), now)
    assert (recorder.made, recorder.replayed) == (1, 4)


def test_other_pairs_of_as_many_atoms_use_the_same_recording(potential, compute, recorder):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=3)
    graph = pairs(atoms, potential.cutoff)
    for _ in range(2):
        compute(graph)
    other = pairs(atoms[[3, 1, 6, 0, 7, 2, 5, 4]], potential.cutoff)
    assert not torch.equal(other.edge_shift, graph.edge_shift)
    for now in (other, moved(other, 2), graph):
        assert_right(potential, compute(now), now)
    assert recorder.made == 1


def test_other_elements_and_cells_at_the_same_pairs_are_seen(potential, compute):
    graph = pairs(bulk("Si", cubic=True), potential.cutoff + 1)
    for _ in range(2):
        compute(graph)
    now = dataclasses.replace(
        graph, numbers=graph.numbers.flip(0).clamp(max=8), cell=graph.cell * 1.01
    )
    assert_right(potential, compute(now), now)


def test_another_size_is_recorded_anew(potential, compute, recorder):
    for atoms in (molecule("C6H6"), molecule("CH4"), bulk("Si", cubic=True) * (2, 1, 1)):
        graph = pairs(atoms, potential.cutoff + 1)
        for seed in range(3):
            now = moved(graph, seed)
            assert_right(potential, compute(now), now)
    assert recorder.made == 3


def test_structures_that_come_once_are_not_recorded(potential, compute, recorder):
    for name in ("CH4", "NH3", "H2O"):
        graph = pairs(molecule(name), potential.cutoff)
        assert_right(potential, compute(graph), graph)
    assert recorder.made == 0


def test_energies_alone_are_not_recorded(potential, compute, recorder):
    graph = pairs(molecule("CH4"), potential.cutoff + 1)
    for _ in range(3):
        assert_right(potential, compute(graph, results=""), graph)
    assert recorder.made == 0


def test_many_pairs_are_not_recorded(potential, compute, recorder, monkeypatch):
    graph = pairs(molecule("C6H6"), potential.cutoff + 1)
    monkeypatch.setattr(repeated_module, "_MOST_EDGES", graph.edge_index.shape[1] - 1)
    for seed in range(3):
        now = moved(graph, seed)
        assert_right(potential, compute(now), now)
    assert recorder.made == 0


def test_batches_that_keep_changing_are_not_recorded(potential, compute, recorder, monkeypatch):
    monkeypatch.setattr(repeated_module, "_PATIENCE", 3)
    for size in (3, 2, 3, 1):
        graph = pairs(molecule("C6H6")[:size], potential.cutoff + 1)
        for _ in range(3):  # the first time its list is new
            assert_right(potential, compute(graph), graph)
    assert recorder.made == 0
    for _ in range(2):
        compute(graph)
    assert (recorder.made, recorder.replayed) == (1, 2)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operation not permitted when stream is capturing"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
    ids=["operation", "memory"],
)
def test_what_cannot_be_recorded_is_computed_and_not_tried_again(potential, caplog, error):
    tried = []

    def record(function):
        tried.append(function)
        raise error

    repeated = Repeated(potential.cutoff, torch.device("cpu"), record)
    graph = pairs(molecule("CH4"), potential.cutoff + 1)

    def evaluate(given, offsets):
        vectors = edge_vectors(given) + offsets
        return potential._found(potential.network, given, vectors, True, True)

    with caplog.at_level(logging.INFO):
        for _ in range(4):
            assert_right(potential, repeated.compute(evaluate, graph, "all"), graph)
    assert len(tried) == 1
    assert f"steps are not recorded: {error}" in caplog.text


def test_results_asked_for_apart_are_of_the_list_that_is_given(potential, compute):
    first = pairs(molecule("CH3CH2OH"), potential.cutoff + 1)
    turned = molecule("CH3CH2OH")
    turned.positions = turned.positions[::-1].copy()
    turned.numbers = turned.numbers[::-1].copy()
    second = pairs(turned, potential.cutoff + 1)
    for graph in (first, first, second, second, first):
        compute(graph, results="")  # the energy alone, which is not recorded
        assert_right(potential, compute(graph), graph)
