import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import StructureError
from tdncalc.geometry.graph import batch_graphs, edge_vectors, make_graph
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.native.tables import RadialTables
from tdncalc.potential import Potential
from tests.structures import NAMES, structure
from tests.test_novelty import some_novelty
from tests.test_torch_modes import MODES

# of the largest number of a kind, or of 1 where all are small: some 30 roundings of float32
PRECISION = 4e-6


def assert_close(found, expected, rounded=None):
    """Compare with float64, allowing what PyTorch loses in float32 several times."""
    found, expected = np.asarray(found), np.asarray(expected)
    limit = PRECISION * max(1.0, np.abs(expected).max(initial=0.0))
    if rounded is not None:
        limit += 4 * np.abs(np.asarray(rounded) - expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_as_exact_as_pytorch_in_float32(trio, name):
    graph = trio.exact.graph(structure(name))
    exact, eager, kernel = (potential.compute(graph, stress=True) for potential in trio)
    assert trio.kernel.choice.name() == "compiled"
    for quantity in ("energies", "forces", "strain_gradient"):
        assert_close(*(getattr(results, quantity) for results in (kernel, exact, eager)))


@pytest.mark.parametrize("mode", MODES)
def test_a_kernel_loaded_and_used_in_a_mode_of_the_caller_finds_the_same(trio, mode):
    graph = trio.exact.graph(structure("organic box"))
    expected = trio.kernel.compute(graph, stress=True)
    with MODES[mode]():
        copied = pickle.loads(pickle.dumps(trio.kernel))
        found = copied.compute(copied.graph(structure("organic box")), stress=True)
    assert copied.choice.name() == "compiled"
    for quantity in ("energies", "forces", "strain_gradient"):
        assert torch.equal(getattr(found, quantity), getattr(expected, quantity))


@pytest.mark.parametrize("name", ["aspirin", "organic box", "single atom"])
def test_kernel_and_pytorch_measure_the_same_novelty(trio, name):
    network = trio.exact.network
    sizes = len(network.config.elements), network.config.n_layers * network.config.channels
    novelty = some_novelty(*sizes)
    graph = trio.exact.graph(structure(name))
    elements = network.element_indices(graph.numbers)
    features = network.descriptors(elements, graph.edge_index, edge_vectors(graph))
    kernel = trio.kernel.choice.kernel()
    found = kernel.compute(
        graph, elements, forces=True, stress=False, distance=novelty.tables()
    ).novelties
    np.testing.assert_allclose(found, novelty.of(features, elements), rtol=1e-4)


@pytest.mark.parametrize("name", ["aspirin", "slab"])
def test_kernel_bounds_the_energies_of_atoms_as_pytorch_does(trio, name):
    graph = trio.exact.graph(structure(name))
    network = trio.exact.network
    vectors = edge_vectors(graph)
    elements = network.element_indices(graph.numbers)
    found = network(elements, graph.edge_index, vectors)
    layers = found - network.repulsion_energies(elements, graph.edge_index, vectors)
    # within the depth of the floor, at another place for each element
    lowest = layers.max() + torch.linspace(0.5, 1.5, len(network.config.elements))

    def bound(network):
        network.lowest = lowest.to(network.lowest)

    exact, eager, kernel = bounded(trio, bound, graph)
    raised = exact.energies - trio.exact.compute(graph).energies
    assert raised.min() > 0.01
    assert raised.max() < 1.0
    for quantity in ("energies", "forces", "strain_gradient"):
        assert_close(*(getattr(results, quantity) for results in (kernel, exact, eager)))


@pytest.mark.parametrize("name", ["aspirin", "slab"])
def test_kernel_bounds_what_atoms_gather_as_pytorch_does(trio, name):
    graph = trio.exact.graph(structure(name))
    norms = gathered_norms(trio.exact.network, graph)

    def bound(network):
        for interaction, seen in zip(network.interactions, norms, strict=True):
            interaction.largest.fill_(0.7 * seen.median())

    exact, eager, kernel = bounded(trio, bound, graph)
    free = trio.exact.compute(graph)
    assert (exact.forces - free.forces).abs().max() > 0.01 * free.forces.abs().max()
    for quantity in ("energies", "forces", "strain_gradient"):
        assert_close(*(getattr(results, quantity) for results in (kernel, exact, eager)))


def bounded(trio, bound, graph):
    """What the three say of a graph once `bound` has changed a copy of their networks."""
    results = []
    for free in trio:
        bound(network := copy.deepcopy(free.network))
        made = Potential(
            network, free.card, device=free.device, dtype=free.dtype, evaluation=free.choice.name()
        )
        results.append(made.compute(graph, stress=True))
    return results


def gathered_norms(network, graph):
    """The norms of what the atoms gather in each layer, (N,) each."""
    norms = []
    hooks = [
        interaction.message.register_forward_hook(
            lambda _module, _inputs, x: norms.append(torch.linalg.vector_norm(x, dim=(1, 2)))
        )
        for interaction in network.interactions
    ]
    network(network.element_indices(graph.numbers), graph.edge_index, edge_vectors(graph))
    for hook in hooks:
        hook.remove()
    return norms


def test_forces_vary_as_the_energy_along_a_line(trio):
    kernel = trio.kernel
    atoms = structure("aspirin")
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    steps, rows = np.linspace(-0.2, 0.2, 81), []
    for step in steps:
        moved = atoms.copy()
        moved.positions += step * direction
        rows.append(kernel.compute(kernel.graph(moved)))
    energies = np.array([float(row.energy) for row in rows])
    slopes = np.array([-(row.forces.numpy() * direction).sum() for row in rows])
    gained = np.concatenate([[0], np.cumsum((slopes[1:] + slopes[:-1]) / 2 * np.diff(steps))])
    spread = np.abs(energies - energies[0]).max()
    np.testing.assert_allclose(energies - energies[0], gained, rtol=0, atol=2e-3 * spread)


def test_pairs_beyond_the_cutoff_change_no_bit(trio):
    kernel = trio.kernel
    atoms = structure("organic box")
    graph = kernel.graph(atoms)
    wider = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, kernel.cutoff + 1.0)
    more = make_graph(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, *wider)
    assert more.edge_index.shape[1] > graph.edge_index.shape[1]
    few, many = (kernel.compute(g, forces=True, stress=True) for g in (graph, more))
    for name in ("energies", "forces", "strain_gradient"):
        assert torch.equal(getattr(few, name), getattr(many, name))


def test_order_of_the_pairs_changes_no_more_than_rounding(trio):
    exact, kernel = trio.exact, trio.kernel
    graph = exact.graph(structure("slab"))
    order = torch.randperm(graph.edge_index.shape[1], generator=torch.Generator().manual_seed(3))
    shuffled = dataclasses.replace(
        graph, edge_index=graph.edge_index[:, order], edge_shift=graph.edge_shift[order]
    )
    assert_close(kernel.compute(shuffled).forces, exact.compute(graph).forces)


def test_many_atoms_feel_the_forces_of_few(trio):
    few = structure("organic box")
    many = few.repeat(5)
    assert len(many) > 4000  # of which less is kept in memory
    forces, expected = (trio.kernel.compute(trio.kernel.graph(a)).forces for a in (many, few))
    assert_close(forces, expected.repeat(125, 1))


def test_atoms_far_outside_their_cell_feel_the_forces_of_those_inside(trio):
    atoms = structure("organic box")
    expected = trio.kernel.compute(trio.kernel.graph(atoms)).forces
    atoms.positions[3] += 40_000 * atoms.cell[0]  # further than 16 bits count
    assert_close(trio.kernel.compute(trio.kernel.graph(atoms)).forces, expected)


def test_threads_change_no_bit(trio):
    kernel = trio.kernel
    atoms = bulk("C", "diamond", a=3.6, cubic=True) * (3, 3, 2)
    atoms.rattle(0.05, seed=2)
    graph, before, results = kernel.graph(atoms), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results += [kernel.compute(graph, stress=True) for _ in range(3)]
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(other.forces, results[0].forces)
        assert torch.equal(other.energies, results[0].energies)
        assert torch.equal(other.strain_gradient, results[0].strain_gradient)


def test_parts_of_a_batch_change_no_bit(trio):
    kernel = trio.kernel
    table = [structure(name) for name in ("aspirin", "organic box", "single atom", "wire")] * 5
    graphs = [kernel.graph(atoms) for atoms in table]
    graph, before, results = batch_graphs(graphs), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(kernel.compute(graph, stress=True))
    finally:
        torch.set_num_threads(before)
    alone = [kernel.compute(one, stress=True) for one in graphs]
    for result in results:
        for name in ("energies", "forces", "strain_gradient"):
            expected = torch.cat([getattr(one, name) for one in alone])
            assert torch.equal(getattr(result, name), expected)


def test_atoms_of_structures_may_be_mixed(trio):
    kernel = trio.kernel
    graph = batch_graphs([kernel.graph(structure(name)) for name in ("aspirin", "organic box")] * 3)
    order = torch.randperm(len(graph.numbers), generator=torch.Generator().manual_seed(4))
    mixed = dataclasses.replace(
        graph,
        numbers=graph.numbers[order],
        positions=graph.positions[order],
        batch=graph.batch[order],
        edge_index=torch.argsort(order)[graph.edge_index],
    )
    assert_close(kernel.compute(mixed).forces, kernel.compute(graph).forces[order])


def test_prepared_lists_last_as_long_as_their_graphs(trio):
    kernel = trio.kernel
    prepared = kernel.choice.kernel()._lists
    before = len(prepared)
    graphs = [kernel.graph(structure(name)) for name in ("aspirin", "water")]
    for graph in (*graphs, *graphs):
        kernel.compute(graph)
    assert len(prepared) == before + 2
    del graph, graphs
    assert len(prepared) == before


def test_a_kernel_that_was_interrupted_as_it_met_an_element_computes(bundled, monkeypatch):
    atoms = structure("water")
    expected = bundled.get_forces(atoms)
    other = copy.deepcopy(bundled)
    other.reset()
    with monkeypatch.context() as patch:
        layer = RadialTables.layer

        def interrupted(tables, index, pairs):
            if index > 0:
                raise KeyboardInterrupt
            return layer(tables, index, pairs)

        patch.setattr(RadialTables, "layer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            other.get_forces(atoms)
    np.testing.assert_array_equal(other.get_forces(atoms), expected)


@pytest.mark.parametrize("name", ["positions", "cell"])
def test_arrays_may_lie_in_memory_as_they_like(trio, name):
    graph = trio.kernel.graph(structure("organic box"))
    transposed = getattr(graph, name).mT.contiguous().mT
    assert not transposed.is_contiguous()
    moved = dataclasses.replace(graph, **{name: transposed})
    expected, found = (trio.kernel.compute(g, stress=True) for g in (graph, moved))
    for quantity in ("energies", "forces", "strain_gradient"):
        assert torch.equal(getattr(found, quantity), getattr(expected, quantity))


def test_structures_together_are_structures_alone(trio):
    kernel = trio.kernel
    table = [structure(name) for name in ("aspirin", "organic box", "single atom", "wire")]
    for atoms, together in zip(table, kernel.evaluate(table), strict=True):
        (alone,) = kernel.evaluate([atoms])
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            assert_close(together[name], value)


def test_energy_only_is_the_same_energy(trio):
    kernel = trio.kernel
    graph = kernel.graph(structure("aspirin"))
    assert torch.equal(kernel.compute(graph, forces=False).energies, kernel.compute(graph).energies)


def test_descriptors_are_those_of_the_network(trio):
    exact, kernel = trio.exact, trio.kernel
    graph = exact.graph(structure("all elements"))
    elements = exact.network.element_indices(graph.numbers)
    found = kernel.choice.kernel().compute(
        graph, elements, forces=False, stress=False, descriptors=True
    )
    assert_close(found.descriptors, exact.descriptors(graph))


def test_shortest_distance_is_reported(trio):
    kernel = trio.kernel
    atoms = molecule("H2O")
    distances = atoms.get_all_distances()
    expected = distances[distances > 0].min()
    assert kernel.compute(kernel.graph(atoms)).shortest == pytest.approx(expected, abs=1e-12)


def test_list_without_the_reverse_of_a_pair_is_refused(trio):
    kernel = trio.kernel
    graph = kernel.graph(structure("water"))
    half = dataclasses.replace(
        graph, edge_index=graph.edge_index[:, 1:], edge_shift=graph.edge_shift[1:]
    )
    with pytest.raises(ValueError, match="in both directions"):
        kernel.compute(half)


@pytest.fixture(scope="module")
def bundled():
    return TDNCalculator(device="cpu", evaluation="compiled")


def test_calculator_keeps_no_memory_of_other_structures(bundled):
    atoms = structure("organic box")
    for name in ("aspirin", "wire", "organic box"):
        bundled.get_forces(structure(name))
    for shift in np.linspace(0, 0.4, 5):
        moved = atoms.copy()
        moved.positions[::2] += shift
        fresh = TDNCalculator(device="cpu", evaluation="compiled")
        np.testing.assert_array_equal(bundled.get_forces(moved), fresh.get_forces(moved))


def test_calculator_sees_other_elements_at_the_same_places(bundled):
    atoms = molecule("CO")
    energy = bundled.get_potential_energy(atoms)
    atoms.symbols[:] = ["O", "C"]
    assert bundled.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-5)
    atoms.symbols[:] = ["N", "N"]
    assert abs(bundled.get_potential_energy(atoms) - energy) > 1.0


def test_atoms_that_meet_are_refused_by_name(bundled):
    atoms = structure("water")
    bundled.get_forces(atoms)
    atoms.positions[1] = atoms.positions[0] + 1e-5
    with pytest.raises(StructureError, match="at one point"):
        bundled.get_forces(atoms)


@pytest.mark.parametrize("name", ["aspirin", "all elements", "organic box", "dense collision"])
def test_bundled_model_by_kernel_is_the_one_by_pytorch(bundled, name):
    atoms = structure(name)
    exact = TDNCalculator(device="cpu", dtype="float64").get_forces(atoms)
    eager = TDNCalculator(device="cpu", evaluation="eager").get_forces(atoms)
    assert_close(bundled.get_forces(atoms), exact, eager)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_calculator_compute_the_same_bits(bundled, copied):
    atoms = structure("aspirin")
    expected = bundled.get_forces(atoms)
    other = copied(bundled)
    other.reset()
    np.testing.assert_array_equal(other.get_forces(atoms), expected)
    assert other.evaluation == bundled.evaluation == "compiled"


def test_threads_of_python_may_share_a_potential(trio):
    graphs = [trio.kernel.graph(structure(name)) for name in ("aspirin", "organic box")] * 20
    expected = [trio.kernel.compute(graph).forces for graph in graphs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda graph: trio.kernel.compute(graph).forces, graphs))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
