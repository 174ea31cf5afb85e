import dataclasses

import pytest
import torch
from ase.build import molecule

from tdncalc.fused.padding import fits, pad_edges, room
from tdncalc.geometry.graph import edge_vectors
from tests.structures import structure


@pytest.mark.parametrize("name", ["aspirin", "organic box", "single atom", "slab"])
def test_added_edges_contribute_exactly_nothing(potential, name):
    graph = potential.graph(structure(name))
    n_edges = graph.edge_index.shape[1]
    padded, offsets = pad_edges(graph, n_edges + 37, 2 * potential.cutoff)
    elements = potential.network.element_indices(graph.numbers)
    found = []
    for one, added in ((graph, 0.0), (padded, offsets)):
        vectors = (edge_vectors(one) + added).requires_grad_(True)
        energies = potential.network(elements, one.edge_index, vectors)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors)
        found.append((energies.detach(), gradient))
    (energies, gradient), (same, more) = found
    assert torch.equal(more[n_edges:], torch.zeros(37, 3, dtype=torch.float64))
    torch.testing.assert_close(same, energies, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(more[:n_edges], gradient, rtol=1e-13, atol=1e-13)


def test_added_edges_are_shared_out_among_atoms(potential):
    graph = potential.graph(molecule("H2O"))
    padded, offsets = pad_edges(graph, 13, 9.0)
    assert padded.edge_index[:, 6:].tolist() == [[0, 1, 2, 0, 1, 2, 0]] * 2
    lengths = torch.linalg.vector_norm(edge_vectors(padded) + offsets, dim=1)
    assert (lengths[6:] == 9.0).all()
    for name in ("edge_index", "edge_shift"):
        rows = getattr(padded, name)
        kept = rows[..., :6] if name == "edge_index" else rows[:6]
        assert torch.equal(kept, getattr(graph, name))


def test_padding_knows_no_cell(potential):
    graph = potential.graph(molecule("H2O"))
    padded, _ = pad_edges(dataclasses.replace(graph, cell=graph.cell + torch.eye(3)), 9, 9.0)
    assert (padded.edge_shift[6:] == 0).all()


@pytest.mark.parametrize("n_edges", [0, 1, 63, 64, 1000, 12_345, 1_000_000])
def test_room_is_for_a_few_more_and_not_far_too_many(n_edges):
    available = room(n_edges)
    assert 17 * n_edges / 16 - 1 <= available <= max(1.25 * n_edges, 128)
    assert fits(n_edges, available)
    assert fits(int(1.05 * n_edges), available)
    assert fits(int(0.7 * n_edges), available)
    assert not fits(available + 1, available)
    assert not fits(n_edges // 4, available) or n_edges < 500
