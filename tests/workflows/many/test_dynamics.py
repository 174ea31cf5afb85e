from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read
from pymatgen.io.ase import AseAtomsAdaptor

from tdncalc import MDFiles, MDSettings, relax_many, run_md, run_md_many
from tdncalc.errors import OptionError, OutputError, StructureError

SETTINGS = MDSettings(steps=12, interval=4, checkpoint_interval=5, seed=3)


@pytest.fixture
def structures():
    return [molecule("H2O"), bulk("Si", cubic=True), molecule("CH3OH"), molecule("H2O")]


def files_in(folder, count):
    return [
        MDFiles(folder / f"{k}.traj", folder / f"{k}.csv", folder / f"{k}.checkpoint")
        for k in range(count)
    ]


def in_order(outcomes):
    return [outcome.result for outcome in sorted(outcomes, key=lambda outcome: outcome.index)]


def test_a_single_structure_is_not_taken_for_a_list_of_its_atoms(structures, calculator):
    pymatgen = AseAtomsAdaptor.get_structure(structures[1])
    for single in (structures[0], pymatgen):
        with pytest.raises(OptionError, match=r"run_md_many takes a list .* into \[ \]"):
            next(run_md_many(single, settings=SETTINGS, calculator=calculator))
        with pytest.raises(OptionError, match=r"relax_many takes a list .* into \[ \]"):
            next(relax_many(single, calculator=calculator))


@pytest.mark.parametrize("ensemble", ["nve", "nvt-langevin", "nvt-bussi", "npt-mtk"])
def test_each_run_is_that_of_its_structure_alone(ensemble, structures, calculator):
    if ensemble.startswith("npt"):
        structures = [structures[1], structures[1] * (1, 1, 2)]
    settings = replace(SETTINGS, ensemble=ensemble)
    together = in_order(run_md_many(structures, settings=settings, calculator=calculator))
    for index, (atoms, many) in enumerate(zip(structures, together, strict=True)):
        own = replace(settings, seed=settings.seed + index)
        alone = run_md(atoms, settings=own, calculator=calculator)
        assert many.reason == "done"
        np.testing.assert_allclose(many.atoms.positions, alone.atoms.positions, atol=1e-8)
        np.testing.assert_allclose(
            many.atoms.get_velocities(), alone.atoms.get_velocities(), atol=1e-9
        )
        assert many.atoms.get_potential_energy() == pytest.approx(
            alone.atoms.get_potential_energy(), abs=1e-7
        )


def test_replicas_differ(calculator):
    first, second = in_order(
        run_md_many([molecule("H2O")] * 2, settings=SETTINGS, calculator=calculator)
    )
    assert not np.allclose(first.atoms.positions, second.atoms.positions)


def test_each_run_has_a_trajectory_and_is_resumed(structures, calculator, tmp_path):
    options = {"calculator": calculator, "files": files_in(tmp_path, 4)}
    list(run_md_many(structures, settings=replace(SETTINGS, steps=6), **options))
    resumed = in_order(run_md_many(structures, settings=SETTINGS, resume=True, **options))
    whole = in_order(run_md_many(structures, settings=SETTINGS, calculator=calculator))
    for index, (one, other) in enumerate(zip(resumed, whole, strict=True)):
        np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-8)
        assert len(read(tmp_path / f"{index}.traj", ":")) == 4


def test_run_that_ends_early_does_not_hold_up_the_others(structures, calculator):
    structures[0].set_velocities([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 0]])
    ended = list(run_md_many(structures, settings=SETTINGS, calculator=calculator))
    reasons = {outcome.index: outcome.result.reason for outcome in ended}
    assert reasons[0].startswith("guard")
    assert ended[0].index == 0
    assert [reasons[index] for index in (1, 2, 3)] == ["done"] * 3


def test_run_that_cannot_write_is_an_outcome_with_an_error(structures, calculator, tmp_path):
    files = files_in(tmp_path, 4)
    files[2].trajectory.write_text("mine")
    outcomes = run_md_many(structures, settings=SETTINGS, calculator=calculator, files=files)
    errors = {outcome.index: outcome.error for outcome in outcomes}
    assert isinstance(errors.pop(2), OutputError)
    assert set(errors.values()) == {None}


def test_stop_ends_all_runs(structures, calculator):
    outcomes = run_md_many(structures, settings=SETTINGS, calculator=calculator, stop=lambda: True)
    assert {outcome.result.reason for outcome in outcomes} == {"stopped"}


def test_structure_that_the_model_does_not_know_is_refused(calculator):
    with pytest.raises(StructureError, match="element U"):
        list(run_md_many([bulk("U", "bcc", a=3.4)], settings=SETTINGS, calculator=calculator))


def test_files_are_one_for_each(structures, calculator, tmp_path):
    with pytest.raises(OptionError, match="1 files for 4 structures"):
        list(
            run_md_many(
                structures, settings=SETTINGS, calculator=calculator, files=files_in(tmp_path, 1)
            )
        )


def test_a_calculator_of_the_structures_is_not_passed_over(structures, calculator):
    alone = run_md(structures[2], settings=SETTINGS, calculator=calculator).atoms.positions
    structures[2].calc = calculator
    for some in (structures, structures[2:]):
        with pytest.raises(OptionError, match=r"structure \d has another calculator than a TDNC"):
            next(run_md_many(some, settings=SETTINGS))
    assert len(list(run_md_many(structures, settings=SETTINGS, calculator=calculator))) == 4
    shared = in_order(run_md_many([structures[2]], settings=SETTINGS))
    assert shared[0].atoms.positions == pytest.approx(alone, abs=1e-9)
    structures[2].calc = EMT()
    with pytest.raises(OptionError, match="structure 0 has another calculator"):
        next(run_md_many([structures[2]], settings=SETTINGS))
