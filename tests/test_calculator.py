import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

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
from ase.optimize import BFGS

import tdncalc.calculator
from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import bundled_models
from tdncalc.errors import OptionError, StructureError
from tests.structures import NAMES, structure


@pytest.fixture
def make_calculator(model_folder):
    def make(dtype="float64", **options) -> TDNCalculator:
        return TDNCalculator(model_folder, device="cpu", dtype=dtype, **options)

    return make


@pytest.fixture
def calculator(make_calculator) -> TDNCalculator:
    return make_calculator()


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


def forces_elsewhere(atoms: Atoms, calculator: TDNCalculator) -> np.ndarray:
    """What another process computes."""
    atoms.calc = calculator
    return atoms.get_forces()


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
    assert atoms.get_potential_energy() == atoms.get_potential_energies().sum()
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


@pytest.mark.parametrize("skin", [-0.1, float("nan")])
def test_negative_skin_is_refused(make_calculator, skin):
    with pytest.raises(OptionError, match=r"skin .* Å is not allowed; give 0 or more"):
        make_calculator(skin=skin)


def test_calculation_of_nothing_is_refused(calculator):
    with pytest.raises(CalculatorSetupError, match="no atoms"):
        calculator.calculate()


def path_of_a_crystal():
    """Small steps, a large one, a change of the cell, of the periodicity, and of the atoms."""
    atoms = structure("organic box")
    rng = np.random.default_rng(4)
    for step in range(12):
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
        if step == 4:
            atoms.positions[3] += 2.0
        if step in (6, 7):
            atoms.set_cell(
                atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), True
            )
        if step == 9:
            atoms.pbc = (True, False, True)
        if step == 10:
            del atoms[5]
        yield atoms


def test_skin_changes_no_bit_of_the_results(make_calculator):
    with_skin, without = make_calculator(skin=1.0), make_calculator(skin=0.0)
    for atoms in path_of_a_crystal():
        for calculator in (with_skin, without):
            atoms.calc = calculator
            atoms.get_stress()
        for key, value in without.results.items():
            assert np.array_equal(with_skin.results[key], value), key
    assert without.neighbors.n_builds == 12
    assert with_skin.neighbors.n_builds < 12


def test_atoms_are_left_alone(calculator):
    atoms = structure("atoms outside the cell")
    before = copy.deepcopy(atoms)
    atoms.calc = calculator
    atoms.get_stress()
    atoms.calc = None
    assert atoms == before
    assert atoms.info == before.info
    assert set(atoms.arrays) == set(before.arrays)


def test_results_are_not_tied_to_the_atoms(calculator):
    atoms = structure("water")
    atoms.calc = calculator
    forces = atoms.get_forces()
    kept = forces.copy()
    forces += 1.0
    assert np.array_equal(atoms.get_forces(), kept)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
@pytest.mark.parametrize("used", [False, True])
def test_copies_compute_the_same_and_apart(calculator, twin_of, used):
    atoms = structure("aspirin")
    atoms.calc = calculator
    if used:
        atoms.get_forces()
    twin = twin_of(calculator)
    other = structure("aspirin")
    other.calc = twin
    assert np.array_equal(other.get_forces(), atoms.get_forces())
    other.positions[0] += 0.1
    other.get_forces()
    assert not np.array_equal(twin.results["forces"], calculator.results["forces"])


def test_atoms_with_calculator_can_be_copied_deeply(calculator):
    atoms = structure("water")
    atoms.calc = calculator
    assert copy.deepcopy(atoms).get_potential_energy() == atoms.get_potential_energy()


def test_a_spawned_process_computes_the_same(calculator):
    atoms = structure("water")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        forces = pool.apply(forces_elsewhere, (atoms, calculator))
    assert np.array_equal(forces, forces_elsewhere(atoms, calculator))


def test_threads_compute_the_same(make_calculator):
    names = ["water", "aspirin", "slab", "organic box"]
    expected = {name: forces_elsewhere(structure(name), make_calculator()) for name in names}
    shared = make_calculator()
    found = {}

    def work(name):
        own = copy.copy(shared)  # one potential for all, a calculator for each
        own.neighbors = copy.deepcopy(shared.neighbors)
        for _ in range(3):
            own.reset()
            found[name] = forces_elsewhere(structure(name), own)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert np.array_equal(found[name], expected[name]), name


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


GLOBALS = """
import os, sys, torch
def state():
    return (torch.get_default_dtype(), torch.get_num_threads(), torch.get_num_interop_threads(),
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(), dict(os.environ))
before = state()
from ase.build import molecule
from tdncalc import TDNCalculator
atoms = molecule("H2O")
atoms.calc = TDNCalculator(sys.argv[1], "cpu")
atoms.get_forces()
assert state() == before
print(sorted({"e3nn", "torch_geometric", "pymatgen", "click", "matplotlib"} & set(sys.modules)))
"""


def test_globals_are_left_alone_and_nothing_needless_is_imported(model_folder):
    done = subprocess.run(
        [sys.executable, "-c", GLOBALS, str(model_folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not bundled_models(), reason="no model is bundled")
def test_bundled_model_is_the_default():
    atoms = structure("aspirin")
    atoms.calc = TDNCalculator(device="cpu", dtype="float64")
    assert atoms.calc.potential.name == tdncalc.calculator.DEFAULT_MODEL
    mirrored = atoms.copy()
    mirrored.positions *= -1
    mirrored.calc = atoms.calc
    energy = atoms.get_potential_energy()
    assert mirrored.get_potential_energy() == pytest.approx(energy, rel=1e-10)
    assert np.abs(atoms.get_forces()).max() < 20.0
