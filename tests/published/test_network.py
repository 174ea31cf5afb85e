"""The published network against plain NumPy, and what its options change."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError

from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import load_model, save_model
from tdncalc.errors import ConfigError, OptionError
from tdncalc.official.network import published_network
from tdncalc.official.reading import read_checkpoint
from tdncalc.potential import Potential
from tdncalc.published.config import PublishedConfig
from tdncalc.published.network import PublishedTDN, published_coupling
from tests.official.checkpoint import NumPyNetwork, all_edges, random_state, save
from tests.structures import structure
from tests.transformations import permuted, rotated, translated

ELEMENTS = ("H", "C", "N", "O", "F", "Si", "Cl", "Br", "Cu")
SMALL = {"n_layers": 2, "channels": 8, "heads": 2, "n_radial": 6, "hidden": (5, 7)}


@lru_cache
def coupling_of(l_max, rank):
    return published_coupling(PublishedConfig(ELEMENTS, l_max=l_max, rank=rank))


def make_potential(dtype=torch.float64, seed=0, scale=1.0, **settings):
    config = PublishedConfig(ELEMENTS, **{**SMALL, "forces": "gradient", **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PublishedTDN(config, coupling_of(config.l_max, config.rank))
    network.reference_energies[1:10] = torch.arange(1.0, 10.0, dtype=torch.float64) * scale
    return Potential(network, {"name": "p"}, device=torch.device("cpu"), dtype=dtype)


def energy(potential, atoms):
    return potential.evaluate([atoms], properties=("energy",))[0]["energy"]


@pytest.fixture(scope="module", params=[1, 2], ids=["L1", "L2"])
def checkpoint(request, tmp_path_factory):
    state = random_state(l_max=request.param, rank=5 * request.param)
    return save(tmp_path_factory.mktemp("official") / "best.pth", state), NumPyNetwork(state)


def imported(path, dtype=torch.float64, **settings):
    settings = {"elements": ELEMENTS, "forces": "direct", **settings}
    network, _ = published_network(read_checkpoint(path), settings)
    return Potential(network, {"name": "p"}, device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("product", ["cp", "dense"])
def test_energies_and_direct_forces_are_those_of_the_equations(
    checkpoint, product, dtype, tolerance
):
    path, reference = checkpoint
    atoms = molecule("CH3CH2OH") + Atoms("N", [[30.0, 0, 0]])  # the N is alone
    atoms.rattle(0.1, seed=1)
    (found,) = imported(path, dtype, product=product).evaluate([atoms])
    energies, forces = reference(atoms.numbers, all_edges(atoms.positions))
    assert np.abs(found["energies"] - energies).max() < tolerance * np.abs(energies).max()
    assert np.abs(found["forces"] - forces).max() < tolerance * np.abs(forces).max()
    assert energies[-1] == found["energies"][-1] == 0.0


def test_gradient_forces_and_stress_are_derivatives_of_the_energy():
    from tests.central_differences import derivatives, shifted, strained

    potential = make_potential(max_neighbors=None)
    atoms = structure("organic box")[:9]
    atoms.set_cell(np.diag([5.0, 5.5, 6.0]))
    (found,) = potential.evaluate([atoms])
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape) / 5
    slope, along_cell = derivatives(potential, [shifted(atoms, direction), strained(atoms, 0, 1)])
    assert slope == pytest.approx(-(found["forces"] * direction).sum(), rel=1e-7)
    assert along_cell == pytest.approx(found["stress"][5] * atoms.get_volume(), rel=1e-7)


@pytest.mark.parametrize("l_max", [1, 2])
@pytest.mark.parametrize("change", [rotated, translated, permuted])
def test_exact_factors_make_the_energy_invariant_but_for_reflection(change, l_max):
    potential = make_potential(l_max=l_max)
    atoms = structure("chiral molecule")
    whole = energy(potential, atoms)
    assert energy(potential, change(atoms)) == pytest.approx(whole, abs=1e-10)
    mirrored = energy(potential, rotated(atoms, improper=True))
    assert abs(mirrored - whole) > 1e-6


def test_the_papers_rank_breaks_rotation_and_the_tensor_itself_mends_it():
    atoms = structure("chiral molecule")
    change = {}
    for product in ("cp", "exact-cp", "exact-dense", "cg"):
        potential = make_potential(rank=7, product=product)
        change[product] = energy(potential, rotated(atoms)) - energy(potential, atoms)
    assert abs(change.pop("cp")) > 1e-5
    assert max(map(abs, change.values())) < 1e-10


@pytest.mark.parametrize("l_max", [1, 2])
def test_all_evaluations_of_exact_factors_agree(l_max):
    atoms = structure("all elements")[[0, 2, 3, 4, 5, 6]]
    products = ("cp", "dense", "exact-cp", "exact-dense", "cg")
    potentials = [make_potential(l_max=l_max, product=p, forces="direct") for p in products]
    results = [p.evaluate([atoms])[0] for p in potentials]
    for result in results[1:]:
        assert result["energy"] == pytest.approx(results[0]["energy"], abs=1e-10)
        assert np.abs(result["forces"] - results[0]["forces"]).max() < 1e-10


def dense_ball(n_atoms=14):
    positions = np.random.default_rng(4).uniform(-1.2, 1.2, size=(n_atoms, 3))
    return Atoms(["C"] * n_atoms, positions)


@pytest.mark.parametrize("truncation", ["with-self", "without-self"])
def test_truncation_keeps_the_first_neighbors_by_index(checkpoint, truncation):
    path, reference = checkpoint
    atoms, limit = dense_ball(), 9
    potential = imported(path, max_neighbors=limit, truncation=truncation)
    edges = []
    for i in range(len(atoms)):
        hits = [j for j in range(len(atoms)) if truncation == "with-self" or j != i]
        room = limit + 1 if truncation == "with-self" else limit
        edges += [(j, i, atoms.positions[j] - atoms.positions[i]) for j in hits[:room] if j != i]
    (found,) = potential.evaluate([atoms])
    energies, _ = reference(atoms.numbers, edges)
    assert np.abs(found["energies"] - energies).max() < 1e-11 * np.abs(energies).max()


def test_truncation_in_a_batch_is_that_of_each_structure():
    potential = make_potential(max_neighbors=9)
    structures = [dense_ball(), molecule("CH4"), dense_ball(12)]
    together = [r["energy"] for r in potential.evaluate(structures)]
    assert together == pytest.approx([energy(potential, s) for s in structures], abs=1e-11)
    assert energy(potential, dense_ball()) != pytest.approx(
        energy(make_potential(max_neighbors=None), dense_ball()), abs=1e-6
    )


def test_an_isolated_atom_has_its_own_energy_only_if_kept():
    dropped, kept = (energy(make_potential(keep_isolated=k), Atoms("O")) for k in (False, True))
    assert dropped == 8.0  # its reference energy
    assert abs(kept - 8.0) > 1e-6


def test_an_energy_per_atom_is_multiplied_by_the_number_of_atoms():
    atoms = [molecule("H2O"), molecule("CH4")]
    total = make_potential(energy="total", scale=0.0).evaluate(atoms)
    per_atom = make_potential(energy="per-atom", scale=0.0).evaluate(atoms)
    for one, other, n_atoms in zip(total, per_atom, map(len, atoms), strict=True):
        assert other["energy"] == pytest.approx(n_atoms * one["energy"], rel=1e-12)
        assert np.allclose(other["forces"], n_atoms * one["forces"], rtol=1e-10)


def test_cells_with_self_images_equal_their_supercell():
    potential = make_potential(max_neighbors=None)
    small = bulk("Cu", a=3.7)
    assert energy(potential, small * (2, 2, 2)) == pytest.approx(
        8 * energy(potential, small), abs=1e-9
    )


@pytest.fixture
def direct_folder(tmp_path):
    potential = make_potential(forces="direct")
    save_model(tmp_path / "direct", potential.network.float(), {"name": "direct"})
    return tmp_path / "direct"


def test_a_saved_network_comes_back_with_its_architecture_and_a_warning(direct_folder):
    with pytest.warns(UserWarning, match="'direct' is a published network"):
        loaded = load_model(direct_folder, dtype="float64")
    assert loaded.card["architecture"] == "published"
    atoms = molecule("H2O")
    expected = make_potential(forces="direct").evaluate([atoms])[0]
    assert loaded.evaluate([atoms])[0]["energy"] == expected["energy"]


@pytest.mark.filterwarnings("ignore:model 'direct'")
def test_direct_forces_have_no_stress_and_no_hessian(direct_folder):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = TDNCalculator(direct_folder)
    assert atoms.get_forces().shape == (4, 3)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    with pytest.raises(OptionError, match="no second derivatives"):
        atoms.calc.get_hessian(atoms)
    assert "stress" not in atoms.calc.potential.evaluate([atoms])[0]


@pytest.mark.filterwarnings("ignore:model 'direct'")
def test_a_product_can_be_chosen_at_load_time(direct_folder):
    atoms = molecule("H2O")
    results = [
        load_model(direct_folder, dtype="float64", product=product).evaluate([atoms])[0]["energy"]
        for product in ("cp", "dense", "cg")
    ]
    assert results[1:] == pytest.approx(results[:1] * 2, abs=1e-6)
    assert TDNCalculator(direct_folder, product="cg").potential.network.config.product == "cg"


def test_the_default_network_takes_a_product_at_load_time_too(model_folder):
    atoms = molecule("H2O")
    results = []
    for product in ("dense", "cp", "cg"):
        potential = load_model(model_folder, dtype="float64", product=product)
        assert potential.network.config.edge_product == product
        assert potential.network.config.node_product == product
        results.append(energy(potential, atoms))
    assert results[1:] == pytest.approx(results[:1] * 2, abs=1e-9)
    with pytest.raises(OptionError, match="'exact-cp' is not one of this model's"):
        load_model(model_folder, product="exact-cp")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forces": "none"}, "forces is 'none'; allowed: direct, gradient"),
        ({"product": "fast"}, "product is 'fast'"),
        ({"heads": 3}, "channels 8 must be a multiple of heads 3"),
        ({"l_max": 0}, "l_max is 0, but must be above 0"),
        ({"elements": ["Pb"]}, "element 'Pb' is not among the 79"),
        ({"depth": 3}, "model: unknown setting 'depth'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        PublishedConfig.from_dict({"elements": list(ELEMENTS), **SMALL, **settings})


def test_a_configuration_survives_json():
    config = replace(PublishedConfig(ELEMENTS), max_neighbors=None, rank=7)
    assert PublishedConfig.from_dict(config.to_dict()) == config
