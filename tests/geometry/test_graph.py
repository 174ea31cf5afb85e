import numpy as np
import pytest
import torch

from tdncalc.geometry.graph import AtomicGraph, batch_graphs, edge_vectors, make_graph


def two_graphs():
    pair = make_graph(
        np.array([1, 8]),
        np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        np.zeros((3, 3)),
        np.zeros(3, dtype=bool),
        np.array([[1, 0], [0, 1]]),
        np.zeros((2, 3), dtype=np.int64),
    )
    chain = make_graph(
        np.array([29]),
        np.array([[9.0, 9.0, 9.0]]),
        np.diag([2.0, 0.0, 0.0]),
        np.array([True, False, False]),
        np.array([[0, 0], [0, 0]]),
        np.array([[-1, 0, 0], [1, 0, 0]]),
    )
    return pair, chain


def test_edge_vectors_point_from_target_to_source():
    pair, chain = two_graphs()
    assert edge_vectors(pair).tolist() == [[0, 0, 1], [0, 0, -1]]
    assert edge_vectors(chain).tolist() == [[-2, 0, 0], [2, 0, 0]]


def test_edge_vectors_of_a_skewed_cell_combine_its_rows():
    cell = np.array([[4.0, 0, 0], [1.0, 3.0, 0], [0.5, 0.25, 2.0]])
    graph = make_graph(
        np.array([1]),
        np.zeros((1, 3)),
        cell,
        np.ones(3, dtype=bool),
        np.array([[0], [0]]),
        np.array([[1, -2, 3]]),
    )
    assert edge_vectors(graph).tolist() == [[4 - 2 + 1.5, -6 + 0.75, 6.0]]


def test_arrays_are_copied_in_double_precision():
    positions = np.zeros((1, 3))
    graph = make_graph(
        np.array([1], dtype=np.int32),
        positions,
        np.zeros((3, 3)),
        np.zeros(3, dtype=bool),
        np.zeros((2, 0), dtype=np.int64),
        np.zeros((0, 3), dtype=np.int64),
    )
    positions += 1.0
    assert graph.positions.tolist() == [[0, 0, 0]]
    assert graph.numbers.dtype == torch.int64
    assert {graph.positions.dtype, graph.cell.dtype, graph.edge_shift.dtype} == {torch.float64}
    assert edge_vectors(graph).shape == (0, 3)


def test_graph_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot assign"):
        two_graphs()[0].positions = torch.zeros(2, 3)


def test_batch_keeps_structures_apart():
    pair, chain = two_graphs()
    joined = batch_graphs([pair, chain, pair])
    assert joined.n_structures == 3
    assert joined.batch.tolist() == [0, 0, 1, 2, 2]
    assert joined.edge_index.tolist() == [[1, 0, 2, 2, 4, 3], [0, 1, 2, 2, 3, 4]]
    expected = torch.cat([edge_vectors(graph) for graph in (pair, chain, pair)])
    assert edge_vectors(joined).tolist() == expected.tolist()


def test_batch_of_batches_counts_on():
    pair, chain = two_graphs()
    nested = batch_graphs([batch_graphs([pair, chain]), batch_graphs([chain, pair])])
    flat = batch_graphs([pair, chain, chain, pair])
    for name, value in vars(flat).items():
        assert torch.equal(getattr(nested, name), value), name


def test_graph_moves_to_a_device_whole():
    moved = two_graphs()[0].to(torch.device("meta"))
    assert isinstance(moved, AtomicGraph)
    assert {value.device.type for value in vars(moved).values()} == {"meta"}
