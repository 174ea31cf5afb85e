import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import (
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)
from ase.calculators.fd import calculate_numerical_forces
from ase.db import connect
from ase.optimize import BFGS

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError, StructureError
from tests.structures import NAMES, structure


@pytest.fixture
def n_computed(calculator, monkeypatch):
    """Count the evaluations of the network."""
    calls = []
    compute = calculator.potential.compute

    def counted(graph, **options):
        calls.append(options)
        return compute(graph, **options)

    monkeypatch.setattr(calculator.potential, "compute", counted)
    return lambda: len(calls)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_the_potential(calculator, potential, name):
    atoms = structure(name)
    (expected,) = potential.evaluate([atoms])
    calculator.calculate(atoms, ["forces"], all_changes)
    assert calculator.results.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(calculator.results[key], value, err_msg=key)


def test_results_have_the_types_of_ase(calculator):
    atoms = structure("slab")
    atoms.calc = calculator
    assert type(atoms.get_potential_energy()) is float
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    for values, shape in [
        (atoms.get_potential_energies(), (16,)),
        (atoms.get_forces(), (16, 3)),
        (atoms.get_stress(), (6,)),
    ]:
        assert isinstance(values, np.ndarray)
        assert (values.dtype, values.shape) == (np.float64, shape)
    assert set(calculator.results) == set(calculator.implemented_properties)


def test_model_is_known_by_the_sha256_of_its_card(calculator):
    sha256 = calculator.potential.card["sha256"]
    assert calculator.model_identity == {"name": "tiny", "sha256": sha256}


def test_properties_of_ase_come_without_what_ase_does_not_know():
    atoms = molecule("CH3OH")
    atoms.calc = TDNCalculator("organic-small")
    found = atoms.get_properties(["energy", "forces"])
    assert found["energy"] == atoms.get_potential_energy()
    assert "novelties" in atoms.calc.results
    assert "novelties" not in found
    assert found["natoms"] == 6


def test_ase_finds_the_forces_consistent(calculator):
    atoms = structure("water")
    atoms.calc = calculator
    analytic = atoms.get_forces()
    np.testing.assert_allclose(calculate_numerical_forces(atoms, 1e-4), analytic, atol=1e-6)


@pytest.mark.parametrize("name", ["water", "dimer"])
def test_stress_needs_a_cell_of_three_vectors(calculator, name):
    atoms = structure(name)
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError, match="three independent vectors"):
        atoms.get_stress()
    assert calculator.results["energy"] == energy


def test_stress_exists_without_pbc_where_there_is_a_cell(calculator):
    atoms = structure("molecule in a cell without pbc")
    atoms.calc = calculator
    assert atoms.get_stress().shape == (6,)


def test_unknown_property_is_not_implemented(calculator):
    atoms = structure("water")
    atoms.calc = calculator
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_dipole_moment()


def test_energy_alone_runs_no_backward_pass(calculator, monkeypatch):
    monkeypatch.setattr(torch.autograd, "grad", None)
    atoms = structure("slab")
    atoms.calc = calculator
    total = atoms.get_potential_energies().sum()
    assert atoms.get_potential_energy() == pytest.approx(total, rel=1e-14)
    assert set(calculator.results) == {"energy", "free_energy", "energies"}
    with pytest.raises(TypeError, match="not callable"):
        atoms.get_forces()


def test_unchanged_atoms_are_not_computed_again(calculator, n_computed):
    atoms = structure("slab")
    atoms.calc = calculator
    atoms.get_forces()
    atoms.get_stress()
    atoms.get_potential_energy()
    atoms.copy()
    atoms.get_forces()
    assert n_computed() == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    assert n_computed() == 2


def test_forces_can_be_asked_for_after_the_energy(calculator, n_computed, potential):
    atoms = structure("slab")
    atoms.calc = calculator
    atoms.get_potential_energy()
    forces = atoms.get_forces()
    assert n_computed() == 2
    assert np.array_equal(forces, potential.evaluate([structure("slab")])[0]["forces"])


def test_nothing_old_remains_after_a_failure(calculator):
    calculator.calculate(molecule("H2O"), ["energy"], all_changes)
    with pytest.raises(StructureError, match="Pb"):
        calculator.calculate(Atoms("Pb"), ["energy"], all_changes)
    assert calculator.results == {}


def test_energies_are_right_after_a_search_that_failed(calculator):
    atoms = molecule("CH3CH2OH", cell=[8.0, 8.0, 8.0], pbc=[True, True, False])
    atoms.calc = calculator
    energy, z = atoms.get_potential_energy(), atoms.positions[0, 2]
    atoms.positions[0, 2] = 1e7
    with pytest.raises(StructureError, match="too long and thin"):
        atoms.get_potential_energy()
    atoms.positions[0, 2] = z
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize("evaluation", ["eager", "compiled"])
def test_a_cell_that_repeats_too_soon_is_refused_by_every_evaluation(evaluation):
    atoms = Atoms("H", cell=[0.3, 6.0, 6.0], pbc=True)
    try:
        atoms.calc = TDNCalculator("organic-small", device="cpu", evaluation=evaluation)
    except OptionError:
        pytest.skip("no compiler")
    with pytest.raises(StructureError, match=r"repeats after 0\.3 Å"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (
            molecule("H2O") + Atoms("Pb", [[3, 3, 3]]),
            r"element Pb \(atom 3\) is not in model 'tiny' \(H B",
        ),
        (Atoms(), "has no atoms"),
        (Atoms("H", [[np.nan, 0, 0]]), "NaN or infinite"),
        (Atoms("HO", [[1, 1, 1], [1, 1, 1]]), "at one point"),
        (Atoms("O", pbc=True), "cell"),
    ],
)
def test_structure_that_cannot_be_computed_is_refused(calculator, atoms, message):
    atoms.calc = calculator
    with pytest.raises(StructureError, match=message):
        atoms.get_potential_energy()


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf"), "1"])
def test_a_skin_that_cannot_be_is_refused(make_calculator, skin):
    with pytest.raises(OptionError, match=r"skin .* Å is not allowed; give a number, 0 or more"):
        make_calculator(skin=skin)


@pytest.mark.parametrize("model", [None, 3])
def test_a_model_that_is_no_name_is_refused(model):
    with pytest.raises(OptionError, match=r"model .* is not allowed; .* \(organic, .*model folder"):
        TDNCalculator(model)


def test_calculation_of_nothing_is_refused(calculator):
    with pytest.raises(CalculatorSetupError, match="no atoms"):
        calculator.calculate()


def test_hessian_and_descriptors_come_from_the_potential(calculator, potential):
    atoms = structure("water")
    graph = potential.graph(atoms)
    np.testing.assert_array_equal(calculator.get_hessian(atoms), potential.hessian(graph).numpy())
    np.testing.assert_array_equal(
        calculator.get_descriptors(atoms), potential.descriptors(graph).numpy()
    )
    assert calculator.results == {}


def test_single_precision_is_the_default(model_folder):
    assert TDNCalculator(model_folder, "cpu").potential.dtype == torch.float32


def test_optimizer_of_ase_descends(calculator):
    atoms = structure("aspirin")
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=5)
    assert atoms.get_potential_energy() < before


def test_a_row_of_a_database_says_which_model_computed_it(tmp_path):
    water = molecule("H2O")
    water.calc = TDNCalculator("organic-small", dtype="float64")
    water.get_potential_energy()
    with connect(tmp_path / "rows.db") as rows:
        rows.write(water)
        parameters = rows.get(1).calculator_parameters
    identity = water.calc.model_identity
    assert parameters == {
        "model": identity["name"],
        "sha256": identity["sha256"],
        "dtype": "float64",
    }


def test_a_calculator_refuses_other_settings_which_it_would_not_compute_by(calculator):
    with pytest.raises(CalculatorSetupError, match=r"cannot be changed \(dtype\); make a new one"):
        calculator.set(dtype="float32")
    assert calculator.parameters["dtype"] == "float64"
