import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from tdncalc.errors import ConfigError
from tdncalc.geometry.graph import edge_vectors, make_graph
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.tdn import TDN, TDNConfig
from tests.structures import structure
from tests.transformations import CHANGES, rotated, translated

CUTOFF = 5.0
PARAMETERS = {
    "lowest",
    "repulsion.reach",
    "repulsion.shortest",
    "embedding",
    "interactions.0.largest",
    "interactions.0.message.down.weight",
    "interactions.0.message.radial.basis",
    "interactions.0.message.radial.out",
    "interactions.0.message.radial.source",
    "interactions.0.message.radial.target",
    "interactions.0.message.up.weight",
    "interactions.0.product.linear.weight",
    "interactions.0.product.weights",
    "interactions.0.update.gates",
    "interactions.0.update.inner",
    "interactions.0.update.scalars",
    "readouts.0.inner",
    "readouts.0.linear",
    "readouts.0.outer",
    "reference_energies",
}


def make_rocksalt() -> Atoms:
    crystal = bulk("NaCl", "rocksalt", a=5.64)
    crystal.rattle(0.1, seed=1)
    return crystal


STRUCTURES = {
    "chiral": structure("chiral molecule"),
    "ethanol": molecule("CH3CH2OH"),
    "rocksalt": make_rocksalt(),
}


def to_graph(atoms):
    edges = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    return make_graph(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, *edges)


def atom_energies(network, atoms):
    """Interaction energies of the atoms: the network alone, without reference energies."""
    graph = to_graph(atoms)
    vectors = edge_vectors(graph).to(network.embedding.dtype)
    return network(network.element_indices(graph.numbers), graph.edge_index, vectors)


def energy(network, atoms) -> float:
    return float(atom_energies(network, atoms).detach().double().sum())


def size(network, atoms) -> float:
    """What relative errors refer to: the energies of the atoms without their signs."""
    return float(atom_energies(network, atoms).abs().sum())


@pytest.fixture(scope="module")
def network(make_network):
    return make_network()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", STRUCTURES)
def test_energy_is_invariant(network, name, change):
    atoms = STRUCTURES[name]
    before, after = energy(network, atoms), energy(network, CHANGES[change](atoms))
    assert after == pytest.approx(before, abs=1e-10 * size(network, atoms))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", STRUCTURES)
def test_energy_is_invariant_in_single_precision(make_network, name, change):
    network, atoms = make_network().float(), STRUCTURES[name]
    before, after = energy(network, atoms), energy(network, CHANGES[change](atoms))
    assert after == pytest.approx(before, abs=1e-6 * len(atoms))


def test_mirror_images_differ_once_odd_paths_are_coupled(network):
    # shows that the molecule can fail the reflection above
    tensor = coupling_tensor(2, paths="SO3", weights="equal")
    config = replace(network.config, node_product="dense")
    odd = TDN(config, replace(network.coupling, tensor=tensor)).double()
    odd.load_state_dict(network.state_dict())
    chiral = structure("chiral molecule")
    difference = energy(odd, chiral) - energy(odd, rotated(chiral, improper=True))
    assert abs(difference) > 1e-6


def test_descriptors_are_invariant(network):
    atoms = structure("chiral molecule")
    rows = []
    for same in (atoms, rotated(atoms, improper=True), translated(atoms)):
        graph = to_graph(same)
        elements = network.element_indices(graph.numbers)
        rows.append(network.descriptors(elements, graph.edge_index, edge_vectors(graph)))
    assert rows[0].shape == (5, 2 * 8)
    for row in rows[1:]:
        torch.testing.assert_close(row, rows[0], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["chiral", "ethanol"])
def test_two_copies_far_apart_have_twice_the_energy(network, name):
    atoms = STRUCTURES[name]
    far = translated(atoms)
    twice = 2 * energy(network, atoms)
    assert energy(network, atoms + far) == pytest.approx(twice, abs=1e-10 * size(network, atoms))


def test_supercell_has_eight_times_the_energy(network):
    atoms = make_rocksalt()
    single = atom_energies(network, atoms)
    eight = atom_energies(network, atoms.repeat(2))
    torch.testing.assert_close(
        eight, single.repeat(8), rtol=0, atol=1e-10 * float(single.abs().max())
    )


def test_atom_without_neighbors_has_no_interaction_energy(network):
    lone = Atoms([1, 6, 8, 35], 10.0 * np.arange(12).reshape(4, 3))
    assert atom_energies(network, lone).tolist() == [0.0] * 4
    beside = structure("chiral molecule") + Atoms("I", [[40.0, 0, 0]])
    assert atom_energies(network, beside)[-1] == 0


def test_every_neighbor_counts(network):
    points = np.random.default_rng(8).normal(size=(150, 3))
    points *= (
        2.4 * np.random.default_rng(9).random((150, 1)) / np.linalg.norm(points, axis=1)[:, None]
    )
    crowd = Atoms("C150", points)
    assert to_graph(crowd).edge_index.shape == (2, 150 * 149)
    whole = energy(network, crowd)
    assert np.isfinite(whole)
    for index in (0, 75, 149):
        assert abs(energy(network, crowd[[i for i in range(150) if i != index]]) - whole) > 1e-3


def test_evaluations_of_the_products_give_the_same_energy(network):
    chiral = structure("chiral molecule")
    expected = energy(network, chiral)
    for edge, node in [("cp", "dense"), ("cg", "cg")]:
        config = replace(network.config, edge_product=edge, node_product=node)
        other = TDN(config, network.coupling).double()
        other.load_state_dict(network.state_dict())
        found = energy(other, chiral)
        assert found == pytest.approx(expected, abs=1e-10 * size(network, chiral))


@pytest.mark.parametrize(
    "settings",
    [{"n_layers": 1}, {"n_layers": 3}, {"l_max": 1}, {"correlation": 1}, {"correlation": 4}],
)
def test_other_sizes_are_invariant_too(make_network, settings):
    other, chiral = make_network(**settings), structure("chiral molecule")
    mirrored = energy(other, rotated(chiral, improper=True))
    assert mirrored == pytest.approx(energy(other, chiral), abs=1e-10 * size(other, chiral))


def test_every_parameter_matters(make_network):
    network = make_network(("C", "H", "F", "Cl", "Br")).requires_grad_(True)
    (atom_energies(network, structure("chiral molecule")) ** 2).sum().backward()
    for name, parameter in network.named_parameters():
        assert bool((parameter.grad != 0).any()), name


def test_names_in_the_checkpoint_stay(network):
    names = set(network.state_dict())
    assert {name for name in names if ".1." not in name} == PARAMETERS
    second = {name.replace("s.1.", "s.0.") for name in names if ".1." in name}
    expected = {name for name in PARAMETERS if ".0." in name} - {"interactions.0.update.gates"}
    assert second == expected | {"interactions.0.residual"}


def test_weights_do_not_depend_on_the_global_dtype(coupling):
    config = TDNConfig(("H", "Pt"), channels=4, edge_channels=4, hidden=4)
    tables = []
    for dtype in (torch.float32, torch.float64):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            tables.append(dict(TDN(config, coupling).double().repulsion.named_buffers()))
        finally:
            torch.set_default_dtype(before)
    for name, table in tables[0].items():
        assert torch.equal(table, tables[1][name]), name


def test_config_survives_json(network):
    text = json.dumps(network.config.to_dict())
    assert TDNConfig.from_dict(json.loads(text)) == network.config


def test_unknown_setting_is_refused():
    with pytest.raises(ConfigError, match="unknown setting 'width'; allowed: elements, "):
        TDNConfig.from_dict({"elements": ["H"], "width": 8})
