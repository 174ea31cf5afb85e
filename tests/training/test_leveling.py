from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from tdncalc.checkpoint import load_model, load_network, read_card, save_model
from tdncalc.training.config import TrainConfig, load_config
from tdncalc.training.data import load_sets
from tdncalc.training.evaluate import evaluate
from tdncalc.training.frames import Frames, Structure, gather, join
from tdncalc.training.leveling import level
from tdncalc.training.loop import train

TOO_LOW = 0.25  # eV, of each atom


@pytest.fixture
def ended(config_file: Path, tmp_path: Path) -> tuple[TrainConfig, Path, Frames]:
    """A run that has ended, its folder, and what it was trained on."""
    config = load_config(config_file)
    config = replace(config, optimizer=replace(config.optimizer, steps=20))
    train(config, run_dir=tmp_path / "run")
    return (
        config,
        tmp_path / "run" / "model",
        load_sets(config.data.train, [""], config.data_root()),
    )


def lower(model: Path) -> None:
    network, card = load_network(model), read_card(model)
    card.pop("leveled_meV_per_atom", None)
    network.reference_energies = network.reference_energies - TOO_LOW
    save_model(model, network, card)


def mean_error(model: Path, frames: Frames) -> float:
    """Return the mean signed error in eV/atom."""
    results = load_model(model).evaluate([frames.atoms(i) for i in range(len(frames))])
    energies = np.array([result["energy"] for result in results])
    return float(((energies - frames.energy) / frames.n_atoms()).mean())


def test_a_finished_model_has_no_mean_error_on_what_it_learned(
    ended: tuple[TrainConfig, Path, Frames],
) -> None:
    _, model, frames = ended
    assert mean_error(model, frames) == pytest.approx(0.0, abs=1e-6)


def test_energies_are_raised_and_the_card_says_so(ended: tuple[TrainConfig, Path, Frames]) -> None:
    config, model, frames = ended
    before = load_model(model).evaluate([bulk("Cu")])[0]
    lower(model)
    held_out = load_sets(config.data.valid, [""], config.data_root())
    level(model, frames, held_out, [""])
    after = load_model(model).evaluate([bulk("Cu")])[0]
    assert after["energy"] == pytest.approx(before["energy"], abs=1e-6)
    assert np.allclose(after["forces"], before["forces"], atol=1e-7)
    card = read_card(model)
    assert card["leveled_meV_per_atom"][""] == pytest.approx(1000 * TOO_LOW, abs=1e-3)
    measured = evaluate(load_model(model), config.data.valid[""], root=config.data_root())
    error = card["validation"]["valid_energy_meV_per_atom"]
    assert error == pytest.approx(measured["energy_MAE_meV_per_atom"], abs=1e-3)


def test_a_run_that_had_ended_and_is_resumed_tells_the_whole_shift(
    ended: tuple[TrainConfig, Path, Frames],
) -> None:
    config, model, _ = ended
    before = read_card(model)
    assert abs(before["leveled_meV_per_atom"][""]) > 1e-3
    train(config, run_dir=model.parent, resume=True)
    assert read_card(model)["leveled_meV_per_atom"] == before["leveled_meV_per_atom"]
    assert read_card(model)["sha256"] == before["sha256"]


def test_each_set_is_leveled_by_itself(ended: tuple[TrainConfig, Path, Frames]) -> None:
    _, model, frames = ended
    of_set = np.arange(len(frames)) % 2
    other = replace(frames, energy=frames.energy + 3.0 * of_set * frames.n_atoms(), level=of_set)
    network, card = load_network(model), read_card(model)
    save_model(model, network, card | {"levels": {"two": {"Cu": 1.0, "Au": 1.0}}})
    level(model, other, other, ["one", "two"])
    first, second = (other.take(np.flatnonzero(of_set == row)) for row in (0, 1))
    assert mean_error(model, first) == pytest.approx(0.0, abs=1e-6)
    shifts = read_card(model)["levels"]["two"]
    own = second.energy - second.counts([29, 79]) @ [shifts["Cu"], shifts["Au"]]
    assert mean_error(model, replace(second, energy=own)) == pytest.approx(0.0, abs=1e-6)


def test_atoms_that_are_alone_keep_their_energies(
    ended: tuple[TrainConfig, Path, Frames],
) -> None:
    _, model, frames = ended
    lower(model)
    alone = Structure(np.array([29]), np.zeros((1, 3)), np.zeros((1, 3)), 0.0)
    level(model, join([frames, gather([alone])]), frames, [""])
    assert mean_error(model, frames) == pytest.approx(-TOO_LOW, abs=1e-6)


def test_atoms_that_are_alone_do_not_level_a_model_that_went_on_from_another(
    ended: tuple[TrainConfig, Path, Frames],
) -> None:
    _, model, frames = ended
    save_model(model, load_network(model), read_card(model) | {"from": {"model": "organic"}})
    lower(model)
    alone = Structure(np.array([29]), np.zeros((1, 3)), np.zeros((1, 3)), 0.0)
    level(model, join([frames, gather([alone])]), frames, [""])
    assert mean_error(model, frames) == pytest.approx(0.0, abs=1e-6)
    lower(model)
    other = replace(gather([alone]), level=np.array([1]))  # a set of such atoms only
    card = read_card(model) | {"levels": {"two": {"Cu": 1.0, "Au": 1.0}}}
    save_model(model, load_network(model), card)
    level(model, join([frames, other]), frames, ["one", "two"])
    assert mean_error(model, frames) == pytest.approx(0.0, abs=1e-6)
    assert read_card(model)["levels"]["two"]["Cu"] == pytest.approx(1.0 - TOO_LOW)
