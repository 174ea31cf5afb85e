import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from tdncalc.errors import StructureError

ts = pytest.importorskip("torch_sim", reason="torch-sim is not installed")


@pytest.fixture
def model(model_folder):
    from tdncalc.torchsim import TorchSimModel

    return TorchSimModel(model_folder, device="cpu", dtype="float64")


def shaken(atoms, seed):
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.fixture
def crystals():
    return [shaken(bulk("Si", cubic=True), 1), shaken(bulk("Cu") * (2, 1, 2), 2)]


def state_of(atoms):
    return ts.io.atoms_to_state(atoms, torch.device("cpu"), torch.float64)


def test_interface_is_that_of_torch_sim(make_network, tmp_path):
    from torch_sim.models.interface import validate_model_outputs

    from tdncalc.checkpoint import save_model
    from tdncalc.torchsim import TorchSimModel

    save_model(tmp_path / "iron", make_network(("Mg", "Si", "Fe")), {"name": "iron"})
    model = TorchSimModel(tmp_path / "iron", device="cpu")
    validate_model_outputs(model, torch.device("cpu"), torch.float64)


def test_results_are_those_of_the_calculator(model, crystals, calculator):
    results = model(state_of(crystals))
    forces = results["forces"].split([len(atoms) for atoms in crystals])
    for index, atoms in enumerate(crystals):
        atoms.calc = calculator
        assert float(results["energy"][index]) == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(forces[index], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(results["stress"][index], atoms.get_stress(False), atol=1e-10)


def test_molecules_have_no_stress(model):
    results = model(state_of([molecule("H2O"), molecule("CH3OH")]))
    assert not results["stress"].any()


def test_a_cell_whose_vectors_depend_on_each_other_has_no_stress(model):
    atoms = molecule("H2O")
    atoms.cell = [[1.9, 0.9, 0.2], [5.7, 2.7, 0.6], [0.1, 2.5, 2.7]]
    assert np.linalg.det(atoms.cell.array) != 0  # by rounding
    assert not model(state_of([atoms]))["stress"].any()


def test_other_systems_are_other_results(model, crystals, calculator):
    first = model(state_of(crystals[:1]))["energy"]
    second = model(state_of(crystals[1:]))["energy"]
    expected = [calculator.get_potential_energy(atoms) for atoms in crystals]
    assert [float(first), float(second)] == pytest.approx(expected)


def test_unknown_element_is_told(model):
    with pytest.raises(StructureError, match="element Fe"):
        model(state_of([bulk("Fe")]))


def test_torch_sim_relaxes_with_it(model, crystals):
    with pytest.warns(UserWarning, match="max steps"):
        relaxed = ts.optimize(
            system=crystals, model=model, optimizer=ts.optimizers.fire, max_steps=5
        )
    assert (relaxed.energy < model(state_of(crystals))["energy"]).all()
