import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from tdncalc.calculator import TDNCalculator
from tdncalc.dispersion import make_dispersion
from tdncalc.fused.gpu_choice import GPUChoice
from tdncalc.native.choice import Choice
from tdncalc.workflows.md import MDSettings, run_md
from tdncalc.workflows.relax import RelaxSettings, relax
from tests.structures import structure


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


def through_pickle(calculator: TDNCalculator) -> TDNCalculator:
    return pickle.loads(pickle.dumps(calculator))


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, through_pickle])
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
    assert twin.neighbors is not calculator.neighbors


@pytest.fixture
def on_gpu(make_calculator):
    """A calculator that takes itself to be on a GPU; its tensors are on the CPU."""
    found = make_calculator("float32")
    found.potential.device = torch.device("cuda", 1)
    arguments = found.potential.network, "eager", torch.device("cuda", 1), torch.float32
    found.potential.choice = GPUChoice(*arguments)
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_calculator_of_a_gpu_opens_on_the_cpu_where_there_is_none(on_gpu, make_calculator):
    expected = forces_elsewhere(structure("aspirin"), make_calculator("float32"))
    with pytest.warns(UserWarning, match=r"was on cuda:1, which is not on this machine: .* cpu"):
        opened = through_pickle(on_gpu)
    assert str(opened.potential.device) == "cpu"
    assert isinstance(opened.potential.choice, Choice)
    assert np.array_equal(forces_elsewhere(structure("aspirin"), opened), expected)
    kept, given = opened.potential.reference_energies, on_gpu.potential.reference_energies
    assert torch.equal(kept, given)
    assert kept.dtype == torch.float64


@pytest.mark.filterwarnings("ignore:this model was on cuda")
def test_a_calculator_of_a_gpu_keeps_its_dispersion(on_gpu):
    on_gpu.potential.dispersion = make_dispersion("pbe")
    assert str(through_pickle(on_gpu).potential.dispersion) == "D3(BJ) of pbe"


def test_atoms_with_calculator_can_be_copied_deeply(calculator):
    atoms = structure("water")
    atoms.calc = calculator
    assert copy.deepcopy(atoms).get_potential_energy() == atoms.get_potential_energy()


def forces_elsewhere(atoms: Atoms, calculator: TDNCalculator) -> np.ndarray:
    """What another process computes."""
    atoms.calc = calculator
    return atoms.get_forces()


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


@pytest.mark.parametrize("evaluation", ["eager", "compiled"])
def test_threads_that_share_a_calculator_get_their_own_energies(evaluation):
    calculator = TDNCalculator("organic-small", evaluation=evaluation)
    names = ["H2O", "CH4", "CH3OH", "C6H6", "C2H6", "NH3", "CO2", "CH3CH2OH"] * 4
    molecules = [molecule(name) for name in names]
    for seed, atoms in enumerate(molecules):
        atoms.rattle(0.02, seed=seed)

    def compute(atoms):
        atoms.calc = calculator
        energy = atoms.get_potential_energy()
        return energy, atoms.get_forces()

    expected = [compute(atoms.copy()) for atoms in molecules]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(compute, molecules))
    for (energy, forces), (right, true) in zip(found, expected, strict=True):
        assert energy == pytest.approx(right, abs=1e-4)
        np.testing.assert_allclose(forces, true, atol=1e-4)


def test_runs_in_threads_that_share_a_calculator_do_not_mix_their_results():
    calculator = TDNCalculator("organic-small", evaluation="eager")
    settings = MDSettings(60, interval=1)
    molecules = [molecule(name) for name in ("CH4", "CH3OH", "C2H6", "CH3CH2OH")]
    with ThreadPoolExecutor(4) as pool:
        go = partial(run_md, settings=settings, calculator=calculator)
        ends = [result.atoms for result in pool.map(go, molecules)]
    for end in ends:
        found = end.get_potential_energy()
        end.calc = calculator
        assert found == pytest.approx(end.get_potential_energy(), abs=1e-4)


@pytest.mark.parametrize("run", [run_md, relax])
def test_an_observer_may_use_the_calculator_of_the_run(run):
    other = molecule("H2O")
    other.calc = TDNCalculator("organic-small", evaluation="eager")
    settings = MDSettings(3) if run is run_md else RelaxSettings(steps=3)
    ask = lambda _: other.get_potential_energy()  # noqa: E731
    end = run(molecule("CH3OH"), settings=settings, calculator=other.calc, observer=ask)
    assert end.atoms.get_forces().shape == (6, 3)
    assert len(other.calc.results["energies"]) == 3
