import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tdncalc.architectures import new_coupling
from tdncalc.checkpoint import load_model, load_network, read_card, save_model
from tdncalc.errors import CheckpointError, ConfigError
from tdncalc.tdn import TDN
from tdncalc.training.config import TrainConfig, load_config
from tdncalc.training.data import load_frames
from tdncalc.training.evaluate import evaluate
from tdncalc.training.finetuning import interaction_energies, spent, start_from
from tdncalc.training.growing import deepen, extend, grow, narrow, widen
from tdncalc.training.loop import train
from tdncalc.training.preparation import make_network, warn_of_unseen


def test_a_wider_network_computes_the_same_for_what_it_knew(network: TDN) -> None:
    network.reference_energies = torch.tensor([-1.5, 2.5], dtype=torch.float64)
    wider = extend(network, ("Ag", "Ni"))
    assert wider.config.elements == ("Cu", "Au", "Ag", "Ni")
    elements = torch.tensor([0, 1, 0])
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    vectors = torch.tensor([[0, 0, 2.5], [0, 0, -2.5], [2.4, 0, 0], [-2.4, 0, 0]])
    assert torch.equal(wider(elements, edges, vectors), network(elements, edges, vectors))
    assert wider.reference_energies.tolist() == [-1.5, 2.5, 0, 0]


def test_a_new_element_begins_as_the_mean_of_the_known(network: TDN) -> None:
    wider = extend(network, ("Ag",))
    assert torch.allclose(wider.embedding[2], network.embedding.mean(0))
    weights = wider.interactions[0].product.weights  # element is the second axis
    assert torch.allclose(weights[:, 2], weights[:, :2].mean(1))
    radii = wider.repulsion.radii
    assert wider.repulsion.shortest[2, 2] == pytest.approx(float(2 * radii[2]))


def test_a_network_without_an_element_computes_the_same_for_the_others(network: TDN) -> None:
    wider = extend(network, ("Ag",))
    wider.reference_energies = torch.tensor([-1.5, 2.5, 3.5], dtype=torch.float64)
    smaller = narrow(wider, ["Au"])
    assert smaller.config.elements == ("Cu", "Ag")
    assert smaller.reference_energies.tolist() == [-1.5, 3.5]
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    vectors = torch.tensor([[0, 0, 2.5], [0, 0, -2.5], [2.4, 0, 0], [-2.4, 0, 0]])
    before = wider(torch.tensor([0, 2, 0]), edges, vectors)
    assert torch.equal(smaller(torch.tensor([0, 1, 0]), edges, vectors), before)


@pytest.mark.parametrize(
    ("dropped", "message"), [(["Fe"], "'Fe', which the model does not"), (["Cu", "Au"], "no elem")]
)
def test_only_some_of_the_known_elements_are_dropped(
    network: TDN, dropped: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        narrow(network, dropped)


def test_a_deeper_network_computes_the_same_and_its_new_layers_learn(network: TDN) -> None:
    deeper = deepen(network, 4)
    elements = torch.tensor([0, 1, 0])
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    vectors = torch.tensor([[0, 0, 2.5], [0, 0, -2.5], [2.4, 0, 0], [-2.4, 0, 0]])
    energies = deeper(elements, edges, vectors)
    assert torch.equal(energies, network(elements, edges, vectors))
    energies.sum().backward()
    for layer in (1, 2):
        gradient = deeper.interactions[layer].product.linear.weight.grad
        assert gradient is not None
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("n_layers", [1, 2.5, "3"])
def test_layers_are_only_added(network: TDN, n_layers: object) -> None:
    with pytest.raises(ConfigError, match="must be 2 or more"):
        deepen(network, n_layers)  # type: ignore[arg-type]


@pytest.mark.parametrize("l_max", [0, 2])
def test_more_channels_compute_the_same_and_learn(network: TDN, l_max: int) -> None:
    config = replace(network.config, l_max=l_max, n_layers=3)
    network = TDN(config, new_coupling(config)).float()
    network.reference_energies = torch.tensor([-1.5, 2.5], dtype=torch.float64)
    network.repulsion.measured(torch.full((2, 2), 1.5))
    wider = widen(network, {"channels": 12, "edge_channels": 9, "hidden": 11})
    assert wider.config == replace(config, channels=12, edge_channels=9, hidden=11)
    assert wider.reference_energies.tolist() == [-1.5, 2.5]
    assert wider.repulsion.shortest.tolist() == network.repulsion.shortest.tolist()
    assert wider.repulsion.reach.tolist() == network.repulsion.reach.tolist()
    elements = torch.tensor([0, 1, 0])
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    vectors = torch.tensor([[0, 0, 2.5], [0, 0, -2.5], [2.4, 0, 0.3], [-2.4, 0, -0.3]])
    energies = wider(elements, edges, vectors)
    assert torch.allclose(energies, network(elements, edges, vectors), rtol=1e-5, atol=1e-6)
    energies.sum().backward()
    fresh = wider.readouts[0].linear.grad[config.channels :]
    assert (fresh != 0).all()
    # what is new is no copy of what was there, and is heard from once it has weight
    with torch.no_grad():
        wider.readouts[0].linear -= wider.readouts[0].linear.grad
    assert not torch.allclose(wider(elements, edges, vectors), energies, rtol=1e-3)


@pytest.mark.parametrize("width", [4, 8.5, "16"])
def test_channels_are_only_added(network: TDN, width: object) -> None:
    with pytest.raises(ConfigError, match=r"channels is .* must be 6 or more"):
        widen(network, {"channels": width})  # type: ignore[dict-item]


def labeled(symbols: str, seed: int, theory: float) -> Atoms:
    """A shaken cluster with EMT's labels, each atom's energy raised by a theory's offset."""
    atoms = Atoms(symbols, 2.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    atoms.rattle(0.1, seed=seed)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy() + theory * 3, "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Go on from a model of copper and gold, learn silver, and do not forget the first."""
    folder = tmp_path_factory.mktemp("finetuning")
    write(folder / "old.extxyz", [labeled("CuAuCu", seed, 0.0) for seed in range(16)])
    write(folder / "new.extxyz", [labeled("CuAgCu", seed, 7.0) for seed in range(16)])
    sizes = {"cutoff": 4.0, "l_max": 1, "channels": 8, "edge_channels": 8, "hidden": 8}
    settings = {"batch_size": 6, "warmup_steps": 5, "compiled": False, "learning_rate": 0.01}
    content = {
        "name": "tiny",
        "model": {"elements": ["Cu", "Au"], **sizes},
        "data": {"train": "old.extxyz", "valid": "old.extxyz"},
        "optimizer": {**settings, "steps": 120, "validate_every": 120},
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(content))
    train(load_config(folder / "base.yaml"), run_dir=folder / "base")
    content |= {"from": str(folder / "base" / "model"), "model": {"elements": ["Ag"]}}
    replay = {"replay": "old.extxyz", "replay_fraction": 0.5}
    content["data"] = {"train": "new.extxyz", "valid": "new.extxyz", **replay}
    slow = {"steps": 60, "validate_every": 60, "learning_rate": 0.003}
    content["optimizer"] = {**settings, **slow}
    (folder / "tune.yaml").write_text(yaml.safe_dump(content))
    return load_config(folder / "tune.yaml")


def test_the_start_has_the_new_theory_and_only_new_elements_are_unknown(
    tuned: TrainConfig,
) -> None:
    frames = load_frames(["new.extxyz"], tuned.folder)
    plain = replace(tuned, data=replace(tuned.data, replay=()))
    network, _ = make_network(plain, frames)
    elements = [int(z) for z in (29, 47)]
    total = interaction_energies(network, frames) + frames.counts(elements) @ [
        float(network.reference_energies[i]) for i in (0, 2)
    ]
    assert np.abs(total - frames.energy).mean() < 0.3
    before = load_model(tuned.start)
    assert float(network.reference_energies[1]) == float(before.reference_energies[1])


def test_elements_without_a_structure_are_warned_of(
    tuned: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    frames = load_frames(["new.extxyz"], tuned.folder)
    network = start_from(tuned.start, tuned.model)
    warn_of_unseen(frames, network, tuned.start)
    (line,) = caplog.messages
    assert "holds Au: the model goes on to claim what" in line
    assert line.endswith("set drop_elements: [Au] under model")
    caplog.clear()
    warn_of_unseen(frames, network, "")
    assert "holds Au: the model would claim to know what it never saw" in caplog.text
    caplog.clear()
    warn_of_unseen(frames, start_from(tuned.start, {**tuned.model, "drop_elements": ["Au"]}), "")
    assert not caplog.messages


@pytest.mark.parametrize("key", ["elements", "drop_elements"])
@pytest.mark.parametrize("value", ["Ag", 3, [47]])
def test_elements_are_a_list_of_symbols(network: TDN, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"model: {key} is .* must be a list of symbols"):
        grow(network, {key: value})


def test_fine_tuning_learns_the_new_and_replay_keeps_the_old(
    tuned: TrainConfig, tmp_path: Path
) -> None:
    kept = train(tuned, run_dir=tmp_path / "kept")
    forgot = train(replace(tuned, data=replace(tuned.data, replay=())), run_dir=tmp_path / "forgot")
    card = read_card(kept.model)
    assert card["elements"] == ["Cu", "Au", "Ag"]
    assert card["from"] == {"model": "tiny", "sha256": read_card(tuned.start)["sha256"]}
    assert (card["training"]["steps"], card["training"]["total"]["steps"]) == (60, 180)
    seconds = [part["training"]["seconds"] for part in (card, read_card(tuned.start))]
    assert card["training"]["total"]["seconds"] == pytest.approx(sum(seconds))
    assert spent(str(kept.model)) == card["training"]["total"]
    assert kept.validation is not None
    assert kept.validation["valid_energy_meV_per_atom"] < 100
    old = evaluate(load_model(kept.model), ["old.extxyz"], root=tuned.folder, level="replay")
    assert old["energy_MAE_meV_per_atom"] < 100
    worse = evaluate(load_model(forgot.model), ["old.extxyz"], root=tuned.folder)
    assert old["forces_MAE_meV_per_A"] < 0.7 * worse["forces_MAE_meV_per_A"]


def test_a_run_does_not_go_on_where_its_start_has_changed(
    tuned: TrainConfig, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    shutil.copytree(tuned.start, start)
    config = replace(tuned, start=str(start))
    train(config, run_dir=tmp_path / "run", stop=lambda: True)
    train(config, run_dir=tmp_path / "run", stop=lambda: True, resume=True)
    network, card = load_network(start), read_card(start)
    network.reference_energies = network.reference_energies + 1.0
    save_model(start, network, card)
    with pytest.raises(
        CheckpointError, match="the model that it goes on from, 'tiny', has changed"
    ):
        train(config, run_dir=tmp_path / "run", stop=lambda: True, resume=True)


def test_a_start_keeps_its_network(network: TDN, tmp_path: Path) -> None:
    save_model(tmp_path / "m", network, {"name": "m"})
    with pytest.raises(ConfigError, match="cutoff cannot be set"):
        start_from(str(tmp_path / "m"), {"cutoff": 7.0})
    assert start_from(str(tmp_path / "m"), {"channels": 7}).config.channels == 7
    with pytest.raises(ConfigError, match="'Xy', which is no element"):
        start_from(str(tmp_path / "m"), {"elements": ["Xy"]})
    assert start_from(str(tmp_path / "m"), {"elements": ["Cu"]}).config == network.config
    gold = start_from(str(tmp_path / "m"), {"elements": ["Ag"], "drop_elements": ["Cu"]})
    assert gold.config.elements == ("Au", "Ag")


def test_a_start_forgets_the_bounds_of_its_old_training_set(network: TDN, tmp_path: Path) -> None:
    for bound in network.bounds().values():
        bound.fill_(1.0)
    save_model(tmp_path / "m", network, {"name": "m"})
    started = start_from(str(tmp_path / "m"), {})
    assert isinstance(started, TDN)
    assert all(bound.isinf().all() for bound in started.bounds().values())


def test_the_command_line_names_another_start(config_file: Path) -> None:
    assert load_config(config_file, start="organic").start == "organic"
    assert load_config(config_file).start == ""
