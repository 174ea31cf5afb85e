import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.mixing import SumCalculator
from ase.units import Hartree
from dftd3.ase import DFTD3

from tdncalc import MDFiles, MDSettings, RelaxSettings, relax, relax_many, run_md, run_md_many
from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import load_model, save_model
from tdncalc.dispersion import Dispersion, unlike_theory
from tdncalc.errors import CheckpointError, OptionError, StructureError
from tdncalc.results import Results
from tdncalc.selftest.checks import selftest
from tdncalc.workflows.many.cluster import WorkerModel, _evaluate, _relax
from tests.central_differences import derivatives, shifted, strained


@pytest.fixture(scope="module")
def folder(make_network, tmp_path_factory):
    """A model whose theory is PBE."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(path, make_network(), {"name": "tiny", "theory": "PBE/def2-TZVP"})
    return path


@pytest.fixture
def make(folder):
    """Make a calculator in float64."""
    return lambda dispersion="pbe": TDNCalculator(
        folder, device="cpu", dtype="float64", dispersion=dispersion
    )


@pytest.fixture(scope="module")
def potential(folder):
    return load_model(folder, device="cpu", dtype="float64", dispersion="pbe")


def shaken(atoms, seed=1):
    atoms.rattle(0.05, seed=seed)
    return atoms


def layer():
    """Silicon and molecules, periodic along two directions, with atoms on both sides of z = 0."""
    atoms = bulk("Si", cubic=True) * (1, 1, 2)
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0.0
    atoms.positions[:, 2] -= 4.0
    return shaken(atoms)


STRUCTURES = {
    "molecule": lambda: shaken(molecule("CH3CH2OH")),
    "molecule in a cell": lambda: shaken(molecule("CH3CH2OH", cell=[6, 7, 8], pbc=True)),
    "crystal": lambda: shaken(bulk("Cu", cubic=True)),
    "primitive cell": lambda: shaken(bulk("Si")),
    "layer": layer,
    "wire": lambda: shaken(molecule("C6H6", cell=[0, 0, 9], pbc=(False, False, True))),
}


@pytest.fixture(params=STRUCTURES)
def atoms(request):
    return STRUCTURES[request.param]()


@pytest.mark.parametrize("name", ["molecule in a cell", "crystal", "primitive cell"])
def test_sum_is_that_of_the_library_and_the_network(name, make):
    atoms = STRUCTURES[name]()
    both = SumCalculator([make(None), DFTD3(method="pbe", damping="d3bj")])
    expected = [both.get_property(name, atoms) for name in ("energy", "forces", "stress")]
    atoms.calc = make()
    energy = atoms.get_potential_energy()
    for ours, theirs in zip(
        [energy, atoms.get_forces(), atoms.get_stress()], expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-10)


def test_copper_of_metals_is_bound_by_dispersion_too():
    atoms = bulk("Cu", cubic=True)
    plain = TDNCalculator("metals")
    both = SumCalculator([plain, DFTD3(method="pbe", damping="d3bj")])
    expected = [both.get_property(name, atoms) for name in ("energy", "forces", "stress")]
    atoms.calc = TDNCalculator("metals", dispersion="PBE")
    found = [atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert found[0] - plain.get_potential_energy(atoms) == pytest.approx(4 * -0.586, abs=0.01)


def test_water_dimer_has_the_energy_of_the_library(make):
    """A molecule without a cell, in hartree."""
    water = molecule("H2O")
    plain, with_d3 = (make(name).get_potential_energy(water) for name in (None, "pbe"))
    assert (with_d3 - plain) / Hartree == pytest.approx(-3.594789398e-4, abs=1e-12)  # dftd3 1.7.0


def test_forces_are_derivatives(atoms, potential):
    directions = np.random.default_rng(2).normal(size=(3, *atoms.positions.shape))
    (results,) = potential.evaluate([atoms])
    slopes = derivatives(potential, [shifted(atoms, d) for d in directions])
    expected = [-(d * results["forces"]).sum() for d in directions]
    # where a pair crosses 60 bohr the energy jumps by 1e-8 eV, over 2e-4 Å; in a molecule none does
    np.testing.assert_allclose(slopes, expected, atol=2e-4 if atoms.pbc.any() else 1e-8)


@pytest.mark.parametrize("name", ["molecule in a cell", "crystal"])
def test_stress_is_the_derivative_by_strain(name, potential):
    atoms = STRUCTURES[name]()
    (results,) = potential.evaluate([atoms])
    indices = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    slopes = derivatives(potential, [strained(atoms, i, j) for i, j in indices])
    # many images cross 60 bohr at once
    np.testing.assert_allclose(slopes / atoms.get_volume(), results["stress"], atol=1e-4)


def test_slab_in_a_cell_has_a_stress_that_does_not_depend_on_where_it_is(make):
    slab = layer()
    slab.cell[2] = (0.0, 0.0, 30.0)
    slab.calc = make()
    energy, forces, stress = slab.get_potential_energy(), slab.get_forces(), slab.get_stress()
    slab.positions[:, 2] += 17.3
    assert slab.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(slab.get_forces(), forces, atol=1e-9)
    np.testing.assert_allclose(slab.get_stress(), stress, atol=1e-11)


def test_layer_is_that_of_a_crystal_with_much_room(make):
    flat, apart = layer(), layer()
    apart.cell[2] = (0.0, 0.0, 60.0)
    apart.pbc = True
    energies = [make().get_potential_energy(atoms) for atoms in (flat, apart)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)  # images are beyond 60 bohr


def test_hessian_is_the_derivative_of_the_forces(make):
    for name in ("molecule", "primitive cell", "layer"):
        atoms, calculator, step = STRUCTURES[name](), make(), 2e-4
        found = calculator.get_hessian(atoms)
        for row in (0, 4):
            forces = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[row // 3, row % 3] += sign * step
                forces.append(calculator.get_forces(moved).ravel())
            slope = (forces[1] - forces[0]) / (2 * step)
            np.testing.assert_allclose(found[row], slope, atol=2e-5)
        plain = make(None).get_hessian(atoms)
        assert np.abs(found - plain).max() > 5e-3


def test_many_are_evaluated_as_each_alone(make, potential):
    structures = [make_one() for make_one in STRUCTURES.values()]
    for atoms, results in zip(structures, potential.evaluate(structures), strict=True):
        atoms.calc = make()
        energy = atoms.get_potential_energy()
        assert results["energy"] == pytest.approx(energy, abs=1e-9)
        assert results["free_energy"] == results["energy"]
        np.testing.assert_allclose(results["forces"], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(results["energies"], atoms.get_potential_energies(), atol=1e-9)
        if atoms.cell.rank == 3:
            np.testing.assert_allclose(results["stress"], atoms.get_stress(), atol=1e-11)


def test_energy_alone_is_that_with_forces(potential):
    structures = [make_one() for make_one in STRUCTURES.values()]
    only = potential.evaluate(structures, properties=["energy"])
    for one, results in zip(only, potential.evaluate(structures), strict=True):
        assert one == {"energy": results["energy"], "free_energy": results["energy"]}


def test_kernel_evaluates_it_too(folder):
    atoms, found = STRUCTURES["crystal"](), []
    for evaluation in ("eager", "compiled"):
        calculator = TDNCalculator(folder, device="cpu", evaluation=evaluation, dispersion="pbe")
        atoms.calc = calculator
        found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for eager, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_copies_keep_it(twin_of, make):
    calculator, atoms = make(), molecule("H2O")
    energy = calculator.get_potential_energy(atoms)
    twin = twin_of(calculator)
    twin.reset()
    assert twin.get_potential_energy(atoms) == energy
    assert twin.model_identity == calculator.model_identity
    assert twin.potential.in_pytorch().evaluate([atoms])[0]["energy"] == energy


def test_threads_compute_the_same(potential):
    """The library alone gives wrong numbers in some runs of this."""
    graphs = [potential.graph(make_one()) for make_one in STRUCTURES.values()]
    begin = threading.Barrier(len(graphs))

    def forces(graph):
        begin.wait()
        nothing = Results(
            torch.zeros(len(graph.numbers)), torch.zeros(1), torch.zeros_like(graph.positions)
        )
        return [Dispersion("pbe").add(graph, nothing).forces for _ in range(30)]

    with ThreadPoolExecutor(len(graphs)) as threads:
        for found in threads.map(forces, graphs):
            assert all(torch.equal(found[0], other) for other in found)


def test_calculator_says_that_it_has_it(make):
    assert make().model_identity["dispersion"] == "D3(BJ) of pbe"
    assert make().parameters["dispersion"] == "D3(BJ) of pbe"
    assert "dispersion" not in make(None).model_identity


@pytest.mark.parametrize("settings", [RelaxSettings(), RelaxSettings(optimizer="bfgs")])
def test_relaxed_together_is_relaxed_alone(settings, make):
    structures = [STRUCTURES["molecule"](), STRUCTURES["crystal"]()]
    outcomes = sorted(
        relax_many(structures, calculator=make(), settings=settings), key=lambda one: one.index
    )
    for atoms, outcome in zip(structures, outcomes, strict=True):
        alone = relax(atoms, calculator=make(), settings=settings)
        without = relax(atoms, calculator=make(None), settings=settings)
        assert outcome.result.energy == pytest.approx(alone.energy, abs=1e-5)
        assert abs(outcome.result.energy - without.energy) > 1e-2


def test_relaxed_together_under_pressure_of_dispersion(make):
    crystal, settings = STRUCTURES["crystal"](), RelaxSettings(cell="isotropic", steps=3)
    (outcome,) = relax_many([crystal], calculator=make(), settings=settings)
    alone = relax(crystal, calculator=make(), settings=settings)
    np.testing.assert_allclose(outcome.result.atoms.cell, alone.atoms.cell, atol=1e-7)


def test_dynamics_together_is_dynamics_alone(make):
    settings = MDSettings(steps=5, seed=3)
    structures = [STRUCTURES["molecule"](), STRUCTURES["crystal"]()]
    runs = run_md_many(structures, settings=settings, calculator=make())
    for one in runs:
        own = MDSettings(steps=5, seed=3 + one.index)
        atoms = structures[one.index]
        alone, without = (run_md(atoms, settings=own, calculator=make(d)) for d in ("pbe", None))
        positions, energy = one.result.atoms.positions, one.result.atoms.get_potential_energy()
        np.testing.assert_allclose(positions, alone.atoms.positions, atol=1e-8)
        assert energy == pytest.approx(alone.atoms.get_potential_energy(), abs=1e-7)
        assert energy < without.atoms.get_potential_energy() - 1e-2


@pytest.mark.parametrize(("first", "then"), [("pbe", None), (None, "pbe"), ("pbe", "revpbe")])
@pytest.mark.filterwarnings("ignore:D3")  # revPBE is not the theory
def test_dynamics_is_not_resumed_with_other_dispersion(first, then, make, tmp_path):
    files = MDFiles(tmp_path / "x.traj", tmp_path / "x.csv", tmp_path / "x.checkpoint")
    atoms = molecule("H2O")
    run_md(atoms, settings=MDSettings(steps=2), calculator=make(first), files=files)
    more = {"settings": MDSettings(steps=4), "files": files, "resume": True}
    with pytest.raises(CheckpointError, match=r"another model, 'tiny' \(.*…\).*, not 'tiny' \("):
        run_md(atoms, calculator=make(then), **more)
    assert run_md(atoms, calculator=make(first), **more).steps == 4


def test_relaxation_is_not_resumed_without_it(make, tmp_path):
    atoms, path = STRUCTURES["molecule"](), tmp_path / "x.traj"
    relax(atoms, calculator=make(), settings=RelaxSettings(steps=2), trajectory=path)
    with pytest.raises(CheckpointError, match=r"\) with D3\(BJ\) of pbe, not 'tiny'"):
        relax(atoms, calculator=make(None), trajectory=path, resume=True)


def test_workers_of_a_cluster_compute_it(make, folder):
    calculator, atoms = make(), molecule("H2O")
    sha256 = calculator.model_identity["sha256"]
    model = WorkerModel(str(folder), "cpu", "float64", "auto", None, sha256, "pbe")
    assert _evaluate(model, [atoms])[0]["energy"] == calculator.get_potential_energy(atoms)
    settings = RelaxSettings(steps=2)
    (outcome,) = _relax(model, settings, [atoms])
    alone = relax(atoms, calculator=calculator, settings=settings)
    assert outcome.result.energy == pytest.approx(alone.energy, abs=1e-9)


def test_torch_sim_gets_it(make, folder):
    ts = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    from tdncalc.torchsim import TorchSimModel

    atoms = STRUCTURES["crystal"]()
    state = ts.io.atoms_to_state([atoms], torch.device("cpu"), torch.float64)
    found = TorchSimModel(folder, device="cpu", dtype="float64", dispersion="pbe")(state)
    atoms.calc = make()
    assert float(found["energy"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found["stress"][0], atoms.get_stress(voigt=False), atol=1e-10)


def test_selftest_is_of_the_network(potential):
    with pytest.raises(OptionError, match="selftest measures a network, not D3"):
        selftest(potential)


def test_atoms_at_one_point_are_told_of(make):
    with pytest.raises(StructureError, match="are at one point"):
        make().get_forces(Atoms("H2", positions=np.zeros((2, 3))))


@pytest.mark.parametrize("dispersion", ["nonsense", "", "m062x", 3, True])
def test_unknown_functional_is_refused(dispersion, make):
    with pytest.raises(OptionError, match=r"is not known; give a functional .* such as pbe"):
        make(dispersion)


def test_missing_library_is_told_of(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "dftd3.interface", None)
    with pytest.raises(OptionError, match=r"not installed; pip install 'tdncalc\[dispersion\]'"):
        make()
    make(None)


def test_element_beyond_the_library_is_refused(make_network, tmp_path):
    network = make_network(("H", "Rf"))
    save_model(tmp_path / "heavy", network, {"name": "heavy", "theory": "PBE"})
    with pytest.raises(OptionError, match=r"'heavy' has Rf, and D3 no element beyond Lr; leave"):
        load_model(tmp_path / "heavy", dispersion="pbe")


@pytest.mark.parametrize("model", ["organic", "organic-dft", "organic-large", "water"])
def test_bundled_models_with_dispersion_are_refused(model):
    with pytest.raises(OptionError, match=r"has dispersion already, and D3.* count it twice"):
        TDNCalculator(model, dispersion="pbe")


CARD = {"name": "mine", "elements": ["H", "C"]}


@pytest.mark.parametrize(
    "theory",
    [
        *("revPBE-D3/TZV2P-GTH", "PBE-D3(BJ)", "PBE+D3", "PBE D3BJ", "B3LYP-D4/def2-SVP", "PBED3"),
        *("wB97X-D/6-31G*", "B97-D", "ωB97M-V", "r2SCAN+rVV10", "optB88-vdW", "PBE+MBD", "PBE-TS"),
        *("GFN2-xTB (tblite 0.8)", "GFN1-xTB", "r2SCAN-3c", "MP2/cc-pVTZ", "DLPNO-CCSD(T)/CBS"),
    ],
)
def test_theory_with_dispersion_is_known(theory):
    with pytest.raises(OptionError, match="has dispersion already"):
        unlike_theory(CARD | {"theory": theory}, Dispersion("pbe"))


@pytest.mark.parametrize(
    ("theory", "functional"),
    [
        *(("PBE", "pbe"), ("PBE/def2-TZVPD", "pbe"), ("PBE (VASP 6, 520 eV)", "pbe")),
        *(("B3LYP/6-311+G(2d,2p)", "b3lyp"), ("B3-LYP/6-31G(d2p)", "b3lyp"), ("PBE", "PBE")),
        *(("revPBE, GTH", "revpbe"), ("ωB97M/def2-SVPD", "wb97m"), ("HF/aug-cc-pV(T+d)Z", "hf")),
    ],
)
def test_theory_that_is_the_functional_is_no_doubt(theory, functional):
    assert unlike_theory(CARD | {"theory": theory}, Dispersion(functional)) is None


@pytest.mark.parametrize("theory", ["PBE0", "B3LYP/6-31G*", "DFT", "PBE without D3", "PBE, no vdW"])
def test_theory_that_is_not_understood_is_a_warning(theory):
    told = unlike_theory(CARD | {"theory": theory}, Dispersion("pbe"))
    assert told.startswith(f"D3(BJ) of pbe is added to model 'mine', whose theory is {theory}:")


def test_model_without_theory_is_a_warning(model_folder):
    with pytest.warns(UserWarning, match="card of model 'tiny' has no theory, and D3"):
        load_model(model_folder, device="cpu", dispersion="pbe")
