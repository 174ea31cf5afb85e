import itertools
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength

from tdncalc import RelaxSettings, TDNCalculator, moving_batch, relax, relax_many
from tdncalc.errors import OptionError, OutOfMemoryError, StructureError
from tdncalc.workflows.many import relaxations
from tests.structures import NAMES, structure

SHORT = RelaxSettings(fmax=0.5, steps=12)


@pytest.fixture
def small_batches(monkeypatch):
    """Room for two or three molecules at a time."""
    monkeypatch.setattr(moving_batch, "edge_budget", lambda device, dtype: 800)


def shaken(atoms, seed, width=0.08):
    atoms = atoms.copy()
    atoms.rattle(width, seed=seed)
    return atoms


@pytest.fixture
def molecules():
    base = [molecule(name) for name in ("H2O", "CH3OH", "C6H6", "CH3CH2OH")]
    return [shaken(atoms, seed) for seed, atoms in enumerate(base * 3)]


@pytest.fixture
def crystals():
    base = [bulk("Si", cubic=True), bulk("Cu") * (2, 2, 1), bulk("NaCl", "rocksalt", a=5.6)]
    return [shaken(atoms, seed) for seed, atoms in enumerate(base)]


def in_order(outcomes):
    return [outcome.result for outcome in sorted(outcomes, key=lambda outcome: outcome.index)]


def assert_same(many, alone):
    assert (many.reason, many.steps) == (alone.reason, alone.steps)
    assert many.energy == pytest.approx(alone.energy, abs=1e-8)
    np.testing.assert_allclose(many.atoms.positions, alone.atoms.positions, atol=1e-7)
    np.testing.assert_allclose(many.atoms.cell.array, alone.atoms.cell.array, atol=1e-7)
    np.testing.assert_allclose(many.atoms.get_forces(), alone.atoms.get_forces(), atol=1e-6)


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire"])
def test_molecules_take_the_path_that_they_take_alone(
    optimizer, molecules, calculator, small_batches
):
    settings = replace(SHORT, optimizer=optimizer, steps=25)
    together = in_order(relax_many(molecules, calculator=calculator, settings=settings))
    assert len({result.steps for result in together}) > 2  # they come and go at different times
    for atoms, many in zip(molecules, together, strict=True):
        assert_same(many, relax(atoms, calculator=calculator, settings=settings))


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire"])
@pytest.mark.parametrize("cell", ["fixed", "full", "isotropic", "shape", "xy"])
def test_cells_take_the_path_that_they_take_alone(cell, optimizer, crystals, calculator):
    pressure = 2.0 if cell in ("full", "isotropic", "xy") else 0.0
    settings = replace(SHORT, optimizer=optimizer, cell=cell, pressure_GPa=pressure)
    together = in_order(relax_many(crystals, calculator=calculator, settings=settings))
    for atoms, many in zip(crystals, together, strict=True):
        alone = relax(atoms, calculator=calculator, settings=settings)
        assert_same(many, alone)
        np.testing.assert_allclose(many.stress_GPa, alone.stress_GPa, atol=1e-5)


def test_awkward_structures_take_the_path_that_they_take_alone(calculator):
    table = [structure(name) for name in NAMES]
    settings = RelaxSettings(fmax=0.05, steps=3)
    together = in_order(relax_many(table, calculator=calculator, settings=settings))
    for atoms, many in zip(table, together, strict=True):
        assert_same(many, relax(atoms, calculator=calculator, settings=settings))


def test_tangled_atoms_are_moved_apart_first(molecules, calculator):
    molecules[2].positions[7] = molecules[2].positions[6] + 0.1
    outcomes = in_order(relax_many(molecules[:4], calculator=calculator, settings=SHORT))
    alone = relax(molecules[2], calculator=calculator, settings=SHORT)
    assert_same(outcomes[2], alone)
    assert outcomes[2].moved_apart == alone.moved_apart is not None
    assert outcomes[1].moved_apart is None


def test_fixed_atoms_stay(molecules, calculator):
    for atoms in molecules[:4]:
        atoms.set_constraint(FixAtoms([0, 2]))
    outcomes = in_order(relax_many(molecules[:4], calculator=calculator, settings=SHORT))
    for atoms, many in zip(molecules, outcomes, strict=False):
        np.testing.assert_array_equal(many.atoms.positions[[0, 2]], atoms.positions[[0, 2]])
        assert_same(many, relax(atoms, calculator=calculator, settings=SHORT))


def test_other_constraints_are_kept(molecules, calculator):
    molecules[1].set_constraint(FixBondLength(0, 1))
    length = molecules[1].get_distance(0, 1)
    outcomes = in_order(relax_many(molecules[:3], calculator=calculator, settings=SHORT))
    assert outcomes[1].atoms.get_distance(0, 1) == pytest.approx(length, abs=1e-6)
    assert len(outcomes) == 3


def test_any_calculator_will_do(morse, cluster):
    outcomes = in_order(relax_many([cluster, cluster], calculator=morse()))
    assert [result.converged for result in outcomes] == [True, True]


def test_bad_structures_are_outcomes_with_an_error(molecules, calculator):
    molecules[1] = Atoms("U", [[0, 0, 0]])
    molecules[2] = "no structure"
    outcomes = list(relax_many(molecules[:4], calculator=calculator, settings=SHORT))
    errors = {outcome.index: outcome.error for outcome in outcomes if outcome.result is None}
    assert sorted(errors) == [1, 2]
    assert "element U" in str(errors[1])
    assert all(isinstance(error, StructureError) for error in errors.values())
    assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2, 3]


def test_cell_that_cannot_move_is_an_error_of_its_structure(molecules, crystals, calculator):
    settings = replace(SHORT, cell="full", steps=1)
    first, second = relax_many(
        [molecules[0], crystals[0]], calculator=calculator, settings=settings
    )
    assert isinstance(first.error, OptionError)
    assert second.result.steps == 1


def test_input_is_taken_as_it_is_needed(molecules, calculator, small_batches):
    taken = []

    def endless():
        for index in itertools.count():
            taken.append(index)
            yield molecules[index % len(molecules)]

    outcomes = relax_many(endless(), calculator=calculator, settings=SHORT)
    first = list(itertools.islice(outcomes, 20))
    assert len({outcome.index for outcome in first}) == 20
    assert len(taken) < 60


def test_no_structures_are_no_outcomes(calculator):
    assert list(relax_many([], calculator=calculator)) == []


def test_stop_leaves_the_rest(molecules, calculator):
    asked = itertools.count()
    outcomes = relax_many(
        molecules, calculator=calculator, settings=SHORT, stop=lambda: next(asked) > 16
    )
    assert len(list(outcomes)) < len(molecules)


def test_given_structures_are_not_changed(molecules, calculator):
    before = [atoms.copy() for atoms in molecules]
    list(relax_many(molecules, calculator=calculator, settings=SHORT))
    assert molecules == before


def test_pymatgen_comes_back_as_pymatgen(crystals, calculator):
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    given = AseAtomsAdaptor.get_structure(crystals[0])
    (outcome,) = relax_many([given], calculator=calculator, settings=SHORT)
    assert isinstance(outcome.result.structure, Structure)


def test_shortage_of_memory_changes_nothing(molecules, calculator, monkeypatch):
    expected = in_order(relax_many(molecules, calculator=calculator, settings=SHORT))
    compute = calculator.potential.compute

    def narrow(graph, **options):
        if graph.n_structures > 2:
            raise MemoryError
        return compute(graph, **options)

    monkeypatch.setattr(calculator.potential, "compute", narrow)
    outcomes = in_order(relax_many(molecules, calculator=calculator, settings=SHORT))
    for one, other in zip(expected, outcomes, strict=True):
        assert_same(one, other)


def test_structure_that_does_not_fit_is_an_error(molecules, calculator, monkeypatch):
    compute = calculator.potential.compute

    def narrow(graph, **options):
        if len(graph.numbers) > 9:
            raise MemoryError
        return compute(graph, **options)

    monkeypatch.setattr(calculator.potential, "compute", narrow)
    outcomes = list(relax_many(molecules[:4], calculator=calculator, settings=SHORT))
    errors = {outcome.index: outcome.error for outcome in outcomes if outcome.result is None}
    assert list(errors) == [2]
    assert isinstance(errors[2], OutOfMemoryError)


def test_step_into_nonsense_ends_at_the_last_good_structure(molecules, calculator, monkeypatch):
    compute, calls = calculator.potential.compute, itertools.count()

    def spoiled(graph, **options):
        results = compute(graph, **options)
        if next(calls) == 3:
            results.forces[:6] = np.nan
        return results

    monkeypatch.setattr(calculator.potential, "compute", spoiled)
    settings = RelaxSettings(fmax=0.01, steps=8)
    outcomes = in_order(relax_many(molecules[1:4], calculator=calculator, settings=settings))
    assert outcomes[0].reason == "energy, forces or stress are not finite"
    assert np.isfinite(outcomes[0].atoms.get_forces()).all()
    assert [result.steps for result in outcomes] == [3, 8, 8]


def test_what_is_no_structure_is_an_outcome_with_an_error_and_ends_nothing(calculator):
    water = molecule("H2O")
    given = [None, water, None, None, water]
    for optimizer in ("lbfgs", "bfgs"):
        settings = replace(SHORT, optimizer=optimizer)
        outcomes = list(relax_many(given, calculator=calculator, settings=settings))
        failed = {outcome.index for outcome in outcomes if outcome.error is not None}
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2, 3, 4]
        assert failed == {0, 2, 3}


def test_a_structure_with_a_calculator_of_its_own_is_relaxed_with_that(calculator):
    copper = shaken(bulk("Cu", cubic=True), 1)
    copper.calc = EMT()
    water = molecule("H2O")
    own, plain = in_order(relax_many([copper, water], settings=SHORT))
    assert own.energy == relax(copper, settings=SHORT).energy
    assert plain.energy == pytest.approx(relax(water, settings=SHORT).energy, abs=1e-6)
    for atoms in (with_small := [water.copy() for _ in range(3)]):
        atoms.calc = calculator
    shared = in_order(relax_many([*with_small, water], settings=SHORT))
    expected = relax(water, calculator=calculator, settings=SHORT).energy
    assert [one.energy for one in shared[:3]] == pytest.approx([expected] * 3, abs=1e-6)
    assert shared[3].energy == pytest.approx(plain.energy, abs=1e-6)
    (given,) = relax_many([copper], calculator=calculator, settings=SHORT)
    assert given.error is not None or given.result.energy != own.energy


def test_the_default_model_is_loaded_once_for_all_that_have_none(monkeypatch):
    loaded = []

    class Counted(TDNCalculator):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            loaded.append(self.potential.card["name"])

    monkeypatch.setattr(relaxations, "TDNCalculator", Counted)
    table = [molecule("H2O") for _ in range(4)]
    table[0].calc = Counted("organic-small")
    outcomes = in_order(relax_many(table, settings=SHORT))
    assert [one.reason for one in outcomes] == ["converged"] * 4
    assert loaded == ["organic-small", "organic"]
