import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from pymatgen.io.ase import AseAtomsAdaptor

import tdncalc.batches
from tdncalc.errors import OptionError, StructureError
from tdncalc.geometry.graph import batch_graphs
from tests.structures import NAMES, structure


@pytest.mark.parametrize("name", NAMES)
def test_energies_sum_to_the_energy_and_forces_to_zero(potential, name):
    (result,) = potential.evaluate([structure(name)])
    assert result["energies"].sum() == pytest.approx(result["energy"], rel=1e-14)
    assert result["free_energy"] == result["energy"]
    np.testing.assert_allclose(
        result["forces"].sum(0), 0, atol=1e-9 * (1 + np.abs(result["forces"]).max())
    )


def test_atom_without_neighbors_has_exactly_its_reference_energy(potential, make_network):
    references = make_network().reference_energies.tolist()
    lone = Atoms("OBr", [[0, 0, 0], [0, 0, 100]])
    expected = [references[potential.elements.index(symbol)] for symbol in ("O", "Br")]
    (result,) = potential.evaluate([lone])
    assert result["energies"].tolist() == expected
    assert (result["forces"] == 0).all()


def test_results_of_many_structures_are_copied_from_a_gpu_together(potential, monkeypatch):
    copied, crystal = [], structure("slab")

    def cpu(tensor):
        copied.append(tensor)
        return tensor

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    potential.evaluate([crystal] * 2)
    of_two = len(copied)
    potential.evaluate([crystal] * 6)
    assert len(copied) == 2 * of_two > 0


@pytest.mark.parametrize("edges_per_batch", [1, 1000, 50_000])
def test_batch_of_everything_equals_one_by_one(potential, monkeypatch, edges_per_batch):
    atoms = [structure(name) for name in NAMES]
    single = [potential.evaluate([one])[0] for one in atoms]
    monkeypatch.setattr(tdncalc.batches, "_CPU_EDGES", edges_per_batch)
    for one, other in zip(single, potential.evaluate(atoms), strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(
                other[key], value, rtol=0, atol=1e-11 * (1 + scale), err_msg=key
            )


def test_positions_far_from_the_origin_lose_no_digits(make_potential):
    potential = make_potential(torch.float32)
    for name in ("water", "aspirin", "organic box"):
        near, far = structure(name), structure(name)
        far.positions += [1000.0, -1000.0, 1000.0]
        one, other = potential.evaluate([near, far])
        np.testing.assert_allclose(other["energies"], one["energies"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(other["forces"], one["forces"], rtol=0, atol=2e-5)


def test_large_offset_costs_no_digits(make_potential, make_network):
    # as all-electron energies: 1e5 eV an atom beside meV that matter
    plain, offset = make_network(), make_network()
    offset.reference_energies -= 131072.0
    atoms = structure("organic box")
    (one,) = make_potential(torch.float32, plain).evaluate([atoms])
    (other,) = make_potential(torch.float32, offset).evaluate([atoms])
    assert np.array_equal(one["forces"], other["forces"])
    np.testing.assert_allclose(other["energies"] + 131072.0, one["energies"], rtol=0, atol=1e-10)
    assert other["energy"] + 131072.0 * len(atoms) == pytest.approx(one["energy"], abs=1e-8)


def test_single_precision_agrees_with_double(potential, make_potential):
    atoms = [structure(name) for name in ("aspirin", "organic box", "slab", "chiral molecule")]
    rough = make_potential(torch.float32).evaluate(atoms)
    for one, other in zip(rough, potential.evaluate(atoms), strict=True):
        assert one["forces"].dtype == np.float64
        np.testing.assert_allclose(one["energies"], other["energies"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(one["forces"], other["forces"], rtol=0, atol=1e-4)


def test_descriptors_have_a_row_for_each_atom(potential):
    water, crystal = (potential.graph(structure(name)) for name in ("water", "slab"))
    rows = potential.descriptors(batch_graphs([water, crystal]))
    assert rows.shape == (19, 16)
    torch.testing.assert_close(rows[:3], potential.descriptors(water))
    torch.testing.assert_close(rows[:3], potential.descriptors(structure("water")))
    assert not rows.requires_grad


def test_only_what_is_asked_for_comes_back(potential):
    crystal = structure("slab")
    assert set(potential.evaluate([crystal], properties=["energy"])[0]) == {"energy", "free_energy"}
    assert set(potential.evaluate([crystal], properties=["stress"])[0]) == {
        "energy",
        "free_energy",
        "stress",
    }
    assert potential.evaluate([]) == []


def test_energy_needs_no_backward_pass(potential, monkeypatch):
    monkeypatch.setattr(torch.autograd, "grad", None)
    potential.evaluate([structure("water")], properties=["energy", "energies"])
    with pytest.raises(TypeError, match="not callable"):
        potential.evaluate([structure("water")], properties=["forces"])


def test_forces_need_no_gradient_mode_of_the_caller(potential):
    with torch.no_grad():
        (result,) = potential.evaluate([structure("water")])
        potential.hessian(potential.graph(structure("water")))
        assert not torch.is_grad_enabled()
    assert np.abs(result["forces"]).max() > 0


def test_properties_that_are_one_text_are_refused(potential):
    with pytest.raises(OptionError, match=r"properties='energy' is a text; give a list, as \['en"):
        potential.evaluate([molecule("H2O")], properties="energy")


def test_unknown_property_is_refused(potential):
    with pytest.raises(
        OptionError, match="unknown property 'dipole'; allowed: energy, free_energy"
    ):
        potential.evaluate([molecule("H2O")], properties=["energy", "dipole"])


def test_unknown_element_is_named_with_its_structure(potential):
    message = r"structure 1: element Pb \(atom 3\) is not in model 'tiny' \(H B C "
    with pytest.raises(StructureError, match=message):
        potential.evaluate([molecule("H2O"), molecule("H2O") + Atoms("Pb", [[4, 4, 4]])])


def test_pymatgen_objects_are_evaluated(potential):
    crystal, water = structure("slab"), structure("water")
    objects = [AseAtomsAdaptor.get_structure(crystal), AseAtomsAdaptor.get_molecule(water)]
    for one, other in zip(
        potential.evaluate(objects), potential.evaluate([crystal, water]), strict=True
    ):
        assert one["energy"] == pytest.approx(other["energy"], rel=1e-12)
        np.testing.assert_allclose(one["forces"], other["forces"], rtol=0, atol=1e-10)


def test_potential_survives_pickle_and_deepcopy(potential):
    atoms = structure("aspirin")
    (expected,) = potential.evaluate([atoms])
    for twin in (copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):
        (result,) = twin.evaluate([atoms])
        assert result["energy"] == expected["energy"]
        assert np.array_equal(result["forces"], expected["forces"])
        assert not any(p.requires_grad for p in twin.network.parameters())
        assert twin.network.training is False


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(potential):
    twin = copy.deepcopy(potential)
    twin.device = torch.device("cuda")
    twin.network.to("cuda")
    twin.reference_energies = twin.reference_energies.cuda()
    atoms = [structure(name) for name in NAMES]
    for one, other in zip(twin.evaluate(atoms), potential.evaluate(atoms), strict=True):
        for key, value in other.items():
            np.testing.assert_allclose(
                one[key], value, rtol=0, atol=1e-9 * (1 + np.abs(value).max())
            )


@pytest.mark.parametrize("convert", [lambda atoms: atoms, AseAtomsAdaptor.get_molecule])
def test_single_structure_is_not_taken_for_a_list(potential, convert):
    with pytest.raises(OptionError, match="takes a list of structures"):
        potential.evaluate(convert(molecule("H2O")))
