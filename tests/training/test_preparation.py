from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from tdncalc.architectures import new_coupling
from tdncalc.checkpoint import save_model
from tdncalc.errors import ConfigError
from tdncalc.tdn import TDN, TDNConfig
from tdncalc.training import preparation
from tdncalc.training.config import DataConfig, OptimizerConfig, TrainConfig
from tdncalc.training.data import Frames, load_frames
from tdncalc.training.finetuning import interaction_energies
from tdncalc.training.frames import Structure, gather, join
from tdncalc.training.preparation import (
    average_neighbors,
    load_data,
    make_network,
    set_shortest_distances,
    warn_of_isolated,
    warn_of_shared,
)
from tdncalc.training.processes import Processes
from tdncalc.training.scaling import limit_gathered


@pytest.fixture
def frames(data_folder: Path) -> Frames:
    return load_frames(["all.extxyz"], data_folder)


def test_shortest_distances_are_those_of_the_data(network: TDN, frames: Frames) -> None:
    set_shortest_distances(network, frames)
    expected = np.full((2, 2), np.inf)
    for atoms in map(frames.atoms, range(len(frames))):
        distances = atoms.get_all_distances(mic=True) + 99 * np.eye(len(atoms))
        for i, j in np.ndindex(distances.shape):
            pair = tuple(int(atoms.numbers[k] == 79) for k in (i, j))
            expected[pair] = min(expected[pair], distances[i, j])
    assert np.isfinite(expected[[0, 0, 1], [0, 1, 0]]).all()
    seen = np.isfinite(expected)
    assert network.repulsion.shortest.numpy()[seen] == pytest.approx(expected[seen], abs=1e-5)
    assert (network.repulsion.reach <= network.repulsion.shortest).all()


def test_pairs_that_are_not_in_the_data_keep_the_sum_of_radii(network: TDN, frames: Frames) -> None:
    before = network.repulsion.shortest.clone()
    copper = [i for i in range(len(frames)) if (frames.atoms(i).numbers == 29).all()]
    set_shortest_distances(network, frames.take(copper))
    changed = network.repulsion.shortest != before
    assert changed.tolist() == [[True, False], [False, False]]
    assert network.repulsion.shortest.dtype == torch.float32


@pytest.mark.parametrize("name", ["H2", "H2O", "CH4"])
def test_random_weights_make_energies_of_order_one_also_of_few_neighbors(name: str) -> None:
    some = [molecule(name) for _ in range(8)]
    for seed, atoms in enumerate(some):
        atoms.rattle(0.05, seed=seed)
    frames = gather([labelled(atoms) for atoms in some])
    elements = tuple(dict.fromkeys(some[0].symbols))
    config = TDNConfig(elements, n_neighbors=average_neighbors(frames, 5.0))
    for seed in range(3):
        torch.manual_seed(seed)
        network = TDN(config, new_coupling(config)).float()
        unlimited = np.abs(interaction_energies(network, frames)).max()
        limit_gathered(network, frames)
        assert np.abs(interaction_energies(network, frames)).max() < min(20.0, unlimited)
        before = network.state_dict()["interactions.1.message.up.weight"].clone()
        limit_gathered(network, frames)  # nothing is left to do
        after = network.state_dict()["interactions.1.message.up.weight"]
        torch.testing.assert_close(after, before)


def labelled(atoms: Atoms) -> Structure:
    zeros = np.zeros_like(atoms.positions)
    return Structure(atoms.numbers, atoms.positions, zeros, 0.0, atoms.cell.array, atoms.pbc)


def held_out(data_folder: Path, fraction: float, seed: int = 0) -> tuple[Frames, Frames]:
    """What to train on and what to validate on, of two sets and one to replay."""
    files = {"a": ("all.extxyz#split=train",), "b": ("all.extxyz#split=test",)}
    data = DataConfig(
        train=files, valid_fraction=fraction, root=str(data_folder), replay=("all.extxyz",)
    )
    config = TrainConfig("held", {}, data, OptimizerConfig(steps=1, seed=seed))
    return load_data(config, data_folder, Processes(0, 1, torch.device("cpu")))


def test_a_fraction_is_held_out_of_the_sets_but_not_of_what_is_replayed(data_folder: Path) -> None:
    train_frames, valid_frames = held_out(data_folder, 0.25)
    assert (len(train_frames), len(valid_frames)) == (18 + 24, 6)
    assert valid_frames.level.max() <= 1
    assert (train_frames.level == 2).sum() == 24
    whole = load_frames(["all.extxyz"], data_folder)
    own = train_frames.energy[train_frames.level < 2].tolist() + valid_frames.energy.tolist()
    assert sorted(own) == sorted(whole.energy.tolist())
    again, others = held_out(data_folder, 0.25)[1], held_out(data_folder, 0.25, seed=1)[1]
    assert again.energy.tolist() == valid_frames.energy.tolist() != others.energy.tolist()


def test_what_is_too_few_to_hold_any_out_is_told(data_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"too few structures \(24\) to hold out 0\.99 of them"):
        held_out(data_folder, 0.99)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_small_set_one_structure_is_learned_from(data_folder: Path, seed: int) -> None:
    train_frames, _ = held_out(data_folder, 0.8, seed)  # of a set of 21 and one of 3
    assert set(train_frames.level) == {0, 1, 2}


def test_structures_that_are_learned_from_and_held_out_are_warned_of(
    frames: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_shared(frames.take(range(10)), frames.take(range(10, 24)))
    assert not caplog.messages
    other = frames.take([3, 4, 20])
    other.positions[0] += 0.01  # the energy of another structure is no sign of the same
    warn_of_shared(frames.take(range(10)), other)
    (line,) = caplog.messages
    assert line.startswith("1 of 3 structures to validate on are among those to train on")


def test_processes_need_a_batch_each_of_what_is_not_held_out(data_folder: Path) -> None:
    data = DataConfig(train={"": ("all.extxyz",)}, valid_fraction=0.5, root=str(data_folder))
    config = TrainConfig("held", {}, data, OptimizerConfig(steps=1, batch_size=8))
    with pytest.raises(ConfigError, match="12 structures are too few for 2 processes with 8 each"):
        load_data(config, data_folder, Processes(0, 2, torch.device("cpu")))


def test_average_neighbors_counts_periodic_images(frames: Frames) -> None:
    crystals = frames.take([1, 3, 5])
    assert average_neighbors(crystals, 3.2) == pytest.approx(12, abs=0.5)


def going_on(network: TDN, folder: Path) -> TrainConfig:
    """Save a network, and return a configuration that goes on from it."""
    save_model(folder / "start", network, {"name": "start", "theory": "EMT"})
    sets = {"": ("all.extxyz",)}
    data, optimizer = DataConfig(train=sets, valid=sets), OptimizerConfig(steps=1)
    return TrainConfig("rest", {}, data, optimizer, start=str(folder / "start"))


def test_a_reference_is_fitted_to_an_element_between_the_samples(
    network: TDN, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = going_on(network, tmp_path)
    frames = frames.take([3, 1, 5, 7, 11, 9])  # the first and the last are copper alone
    _, of_all = make_network(config, frames)
    monkeypatch.setattr(preparation, "_SAMPLE", 2)
    _, found = make_network(config, frames)
    assert found.references == pytest.approx(of_all.references, abs=1e-6)


def test_what_goes_on_from_a_model_keeps_its_references_of_atoms_that_are_alone(
    frames: Frames, network: TDN, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = going_on(network, tmp_path)
    crystals = frames.take([3, 1, 5, 7, 11, 9])
    lone = gather([Structure(np.array([29]), np.zeros((1, 3)), np.zeros((1, 3)), 50.0)])
    with_lone = join([lone, crystals])
    _, expected = make_network(config, crystals)
    _, found = make_network(config, with_lone)
    assert found.references == pytest.approx(expected.references, abs=1e-6)
    warn_of_isolated(crystals, network, "start")
    warn_of_isolated(with_lone, network, "")
    assert not caplog.messages
    warn_of_isolated(with_lone, network, "start")
    (line,) = caplog.messages
    assert line.startswith("1 of the structures to train on are atoms without neighbors: start")
