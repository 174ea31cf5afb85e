import numpy as np
import pytest
import torch

from tdncalc.batches import backing_off, edge_budget, in_batches, in_edges
from tdncalc.errors import OutOfMemoryError
from tests.structures import structure

NAMES = ("water", "aspirin", "organic box", "wire", "single atom")


@pytest.fixture
def graphs(potential):
    return [potential.graph(structure(name)) for name in NAMES]


def fails_above(n_structures, error):
    """Count atoms, but run out of memory with more structures than that."""

    def compute(graph):
        if graph.n_structures > n_structures:
            raise error
        return torch.bincount(graph.batch, minlength=graph.n_structures).tolist()

    return compute


@pytest.mark.parametrize("budget", [1, 500, 10**6])
def test_batches_hold_every_graph_once_and_in_order(graphs, budget):
    parts = list(in_batches(iter(graphs), budget))
    assert [graph for part in parts for graph in part] == graphs
    for part in parts:
        size = sum(in_edges(len(graph.numbers), graph.edge_index.shape[1]) for graph in part)
        assert len(part) == 1 or size <= budget


def test_no_graphs_are_no_batches():
    assert list(in_batches([], 10)) == []


@pytest.mark.parametrize("fitting", [1, 2, 3])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["Python", "CUDA", "CPU", "cuBLAS"],
)
def test_shortage_of_memory_makes_batches_smaller(graphs, fitting, error):
    expected = [len(graph.numbers) for graph in graphs]
    assert backing_off(fails_above(fitting, error), graphs) == expected


def test_structure_that_does_not_fit_alone_is_told(graphs):
    with pytest.raises(OutOfMemoryError, match=r"^3 atoms with 6 edges do not fit into memory"):
        backing_off(fails_above(0, MemoryError()), graphs[:1])


def test_other_errors_are_not_taken_for_shortage(graphs):
    with pytest.raises(RuntimeError, match="shapes"):
        backing_off(fails_above(1, RuntimeError("shapes do not match")), graphs)


def test_potential_goes_on_after_a_shortage(potential, monkeypatch):
    table = [structure(name) for name in NAMES]
    expected, compute = potential.evaluate(table), potential.compute

    def narrow(graph, **options):
        if graph.n_structures > 1:
            raise MemoryError
        return compute(graph, **options)

    monkeypatch.setattr(potential, "compute", narrow)
    for one, other in zip(expected, potential.evaluate(table), strict=True):
        np.testing.assert_allclose(other["forces"], one["forces"], atol=1e-11)


def test_budget_of_a_gpu_is_what_its_memory_holds(monkeypatch):
    memory = {"memory_reserved": 0, "memory_allocated": 0}
    for name in memory:
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: memory[name])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * 10**9, 80 * 10**9))
    assert edge_budget(torch.device("cuda"), torch.float32) == 3_200_000
    assert edge_budget(torch.device("cuda"), torch.float64) == 1_600_000
    # PyTorch keeps the memory of an evaluation before, but for 16 GB all of it is idle
    memory |= {"memory_reserved": 80 * 10**9, "memory_allocated": 16 * 10**9}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 80 * 10**9))
    assert edge_budget(torch.device("cuda"), torch.float32) == 2_560_000
