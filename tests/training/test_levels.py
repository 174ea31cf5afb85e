import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tdncalc.checkpoint import load_model, read_card
from tdncalc.training import frames as module
from tdncalc.training.config import TrainConfig, load_config
from tdncalc.training.data import Frames, load_frames, load_sets
from tdncalc.training.levels import Levels, fit_levels
from tdncalc.training.loop import train


@pytest.fixture
def frames(data_folder: Path) -> Frames:
    return load_frames(["all.extxyz"], data_folder)


@pytest.mark.parametrize("block", [50_000, 7])
def test_reference_energies_recover_an_additive_energy(
    frames: Frames, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    additive = frames.counts([29, 79]) @ np.array([-2.5, 7.25])
    fit = fit_levels(replace(frames, energy=additive), ("Cu", "Au"))
    assert fit.references == pytest.approx([-2.5, 7.25])
    assert not fit.free.any()


def test_a_single_composition_has_small_references(frames: Frames) -> None:
    same = frames.take([1] * 5)
    fit = fit_levels(same, ("Cu", "Au"))
    assert same.counts([29, 79]) @ fit.references == pytest.approx(same.energy)
    assert np.abs(fit.references).max() < np.abs(same.energy).max()


def test_shifts_between_sets_are_told_from_references(frames: Frames) -> None:
    level = np.arange(len(frames)) % 2
    counts = frames.counts([29, 79])
    additive = counts @ [-2.5, 7.25] + level * (counts @ [100.0, -30.0])
    fit = fit_levels(replace(frames, energy=additive, level=level), ("Cu", "Au"), 2)
    assert fit.references == pytest.approx([-2.5, 7.25])
    assert fit.shifts[1] == pytest.approx([100, -30])
    assert fit.table(("Cu", "Au"))[:, 79] == pytest.approx([7.25, -22.75])


def test_an_element_of_one_set_only_has_the_level_of_the_model(frames: Frames) -> None:
    copper = frames.counts([79])[:, 0] == 0
    level = np.where(copper, 0, 1)
    fit = fit_levels(replace(frames, level=level), ("Cu", "Au"), 2)
    assert fit.free.tolist() == [[False, False], [True, False]]
    assert fit.shifts[1, 1] == 0


def lone(symbol: str, energy: float, pbc: bool = False) -> Atoms:
    """One atom, with neighbors of its own kind in 30 Å if it is periodic."""
    atoms = Atoms(symbol, cell=[30.0] * 3, pbc=pbc)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


def with_lone(folder: Path, *atoms: Atoms) -> Frames:
    """Return the structures of the folder, and some atoms behind them."""
    write(folder / "lone.extxyz", atoms)
    return load_frames(["all.extxyz", "lone.extxyz"], folder)


@pytest.mark.parametrize("block", [50_000, 7])
def test_elements_with_atoms_that_are_alone_have_their_energies(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    frames = with_lone(data_folder, lone("Cu", 1.0), lone("Cu", 2.0, pbc=True))
    additive = frames.counts([29, 79]) @ np.array([-2.5, 7.25])
    additive[-2:] = [1.0, 2.0]
    frames = replace(frames, energy=additive)
    fit = fit_levels(frames, ("Cu", "Au"), cutoff=5.0)
    counts = frames.counts([29, 79])[:-2]
    gold = np.linalg.lstsq(counts[:, 1:], additive[:-2] - 1.5 * counts[:, 0], rcond=None)[0]
    assert fit.references == pytest.approx([1.5, gold[0]])
    near = fit_levels(frames, ("Cu", "Au"), cutoff=31.0)  # one has neighbors now
    assert near.references[0] == pytest.approx(1.0)
    assert fit_levels(frames, ("Cu", "Au")).references[0] < -2


def test_atoms_that_are_alone_tell_the_level_of_their_set(data_folder: Path) -> None:
    frames = with_lone(data_folder, lone("Cu", 100.0), lone("Au", 9.0))
    level = np.arange(len(frames)) % 2
    level[-2:] = 1, 0
    counts = frames.counts([29, 79])
    additive = counts @ [-2.5, 7.25] + level * (counts @ [100.0, -30.0])
    additive[-2:] = 100.0, 9.0
    frames = replace(frames, energy=additive, level=level)
    table = fit_levels(frames, ("Cu", "Au"), 2, cutoff=5.0).table(("Cu", "Au"))
    assert table[1, 29] == pytest.approx(100.0)
    assert table[0, 79] == pytest.approx(9.0)
    later = counts[level == 1][:, 1][:-1]
    left = (additive - 100.0 * counts[:, 0])[level == 1][:-1]
    assert table[1, 79] == pytest.approx(later @ left / (later @ later))
    assert not fit_levels(frames, ("Cu", "Au"), 2, cutoff=5.0).shifts[0].any()


def test_levels_add_the_shift_of_each_atom() -> None:
    levels = Levels(np.array([[False, False], [True, False]]))
    torch.nn.init.constant_(levels.table, 0.5)
    added = levels(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    assert added.tolist() == [0, 0.5, 0]


def test_sets_are_read_with_their_levels(data_folder: Path) -> None:
    sets = {"b": ["all.extxyz#split=test"], "a": ["all.extxyz#split=train"]}
    assert load_sets(sets, ["a", "b"], data_folder).level.tolist() == [1] * 3 + [0] * 21


def crystal(a: float, shift: float) -> Atoms:
    """Copper of a lattice constant in Å, with EMT's energy raised by a shift in eV."""
    atoms = bulk("Cu", a=a)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy() + shift, "forces": atoms.get_forces()}
    if a > 3.6:
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Path]:
    """A run on crystals of copper, some with stress, in two sets of different level and volume."""
    folder = tmp_path_factory.mktemp("levels")
    write(folder / "one.extxyz", [crystal(a, 0.0) for a in np.linspace(3.4, 4.0, 12)])
    write(folder / "two.extxyz", [crystal(a, 20.0) for a in np.linspace(3.6, 4.3, 12)])
    sizes = {"cutoff": 4.0, "l_max": 1, "channels": 8, "edge_channels": 8, "hidden": 8}
    content = {
        "name": "tiny",
        "model": {"elements": ["Cu", "Au"], **sizes},
        "data": {
            "train": {"one": "one.extxyz", "two": "two.extxyz"},
            "valid": {"two": "two.extxyz"},
        },
        "optimizer": {"steps": 120, "batch_size": 6, "warmup_steps": 5, "validate_every": 30}
        | {"compiled": False, "learning_rate": 0.01, "stress_weight": 5.0},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(content))
    config = load_config(folder / "train.yaml")
    train(config, run_dir=folder / "run")
    return config, folder


def test_levels_end_where_the_same_atoms_have_the_same_energy(
    run: tuple[TrainConfig, Path],
) -> None:
    """Least squares takes the strain of the second set for a part of the shift; training not."""
    config, folder = run
    frames = load_sets(config.data.train, ["one", "two"], folder)
    fitted = fit_levels(frames, ("Cu", "Au"), 2).shifts[1, 0]
    model = folder / "run" / "model"
    learned = read_card(model)["levels"]["two"]["Cu"]
    assert abs(fitted - 20) > 0.1
    assert abs(learned - 20) < 0.5 * abs(fitted - 20)
    atoms = crystal(3.8, 0.0)
    energy = load_model(model).evaluate([atoms])[0]["energy"]
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=0.5 * abs(fitted - 20))


def test_training_on_some_stresses_lowers_their_error(run: tuple[TrainConfig, Path]) -> None:
    folder = run[1] / "run"
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    errors = [float(row["valid_virial_meV_per_atom"]) for row in rows]
    assert errors[-1] < 0.5 * errors[0]
    atoms = crystal(4.1, 0.0)
    stress = load_model(folder / "model").evaluate([atoms])[0]["stress"]
    assert stress[0] == pytest.approx(atoms.get_stress()[0], rel=0.2)
