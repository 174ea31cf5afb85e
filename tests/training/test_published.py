"""Training of the published network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tdncalc.checkpoint import load_model, read_card
from tdncalc.errors import ConfigError
from tdncalc.published.config import PublishedConfig
from tdncalc.training.config import TrainConfig, load_config
from tdncalc.training.evaluate import evaluate
from tdncalc.training.loop import train

RECIPE = Path(__file__).parents[2] / "examples" / "training" / "pubchemqcr.yaml"
TINY = {
    "elements": ["Cu"],
    "cutoff": 4.0,
    "n_layers": 1,
    "channels": 8,
    "heads": 2,
    "n_radial": 8,
    "hidden": [8, 8],
    "dropout": 0.0,
}


@pytest.fixture
def configure(config_file: Path):
    def make(**settings: object) -> TrainConfig:
        content = yaml.safe_load(config_file.read_text())
        content["architecture"] = "published"
        content["model"] = {**TINY, "elements": ["Cu", "Au"], **settings}
        content["optimizer"] |= {"compiled": True, "steps": 30, "learning_rate": 0.01}
        content["optimizer"] |= {"validate_every": 10, "warmup_steps": 2}
        config_file.write_text(yaml.safe_dump(content))
        return load_config(config_file)

    return make


@pytest.mark.parametrize("settings", [{"forces": "gradient"}, {"forces": "direct"}])
@pytest.mark.filterwarnings("ignore:model 'tiny' is a published")
def test_a_published_network_learns(
    configure, settings: dict[str, str], tmp_path: Path, data_folder: Path
) -> None:
    config = configure(**settings)
    errors: list[float] = []
    result = train(
        config, run_dir=tmp_path / "run", observer=lambda now: errors.append(now.forces_error)
    )
    assert errors[-1] < 0.9 * errors[0]
    card = read_card(result.model)
    assert card["architecture"] == "published"
    assert card["config"]["forces"] == settings["forces"]
    assert card["config"]["n_avg"] == pytest.approx(3.5, abs=0.5)
    report = evaluate(load_model(result.model), config.data.valid[""], root=data_folder)
    expected = card["validation"]["valid_forces_meV_per_A"]
    assert report["forces_MAE_meV_per_A"] == pytest.approx(expected, rel=1e-3)


def test_dropout_is_off_when_the_model_is_measured(configure, tmp_path: Path) -> None:
    config = configure(forces="direct", dropout=0.5)
    config = replace(config, optimizer=replace(config.optimizer, learning_rate=1e-12, steps=20))
    result = train(config, run_dir=tmp_path / "run")
    rows = np.genfromtxt(tmp_path / "run" / "log.csv", delimiter=",", names=True)
    assert result.step == 20
    assert np.ptp(rows["valid_forces_meV_per_A"]) < 1e-3


@pytest.mark.filterwarnings("ignore:model 'tiny' is a published")
def test_a_stopped_run_with_dropout_resumes_as_if_it_had_not_stopped(
    configure, tmp_path: Path
) -> None:
    config = configure(forces="direct", dropout=0.5)
    config = replace(config, optimizer=replace(config.optimizer, steps=10))
    whole = train(config, run_dir=tmp_path / "whole")
    calls = iter(range(5))
    train(config, run_dir=tmp_path / "part", stop=lambda: next(calls) == 4)
    before = torch.get_rng_state()
    resumed = train(config, run_dir=tmp_path / "part", resume=True)
    weights = [(run.model / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert weights[0] == weights[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_direct_forces_cannot_learn_a_stress(configure, tmp_path: Path) -> None:
    config = configure(forces="direct")
    config = replace(config, optimizer=replace(config.optimizer, stress_weight=1.0))
    with pytest.raises(ConfigError, match="direct forces have no stress"):
        train(config, run_dir=tmp_path / "run")


def test_an_unknown_architecture_is_named(config_file: Path) -> None:
    content = yaml.safe_load(config_file.read_text()) | {"architecture": "else"}
    config_file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="architecture 'else' is not known; allowed: tdn, pub"):
        load_config(config_file)


def test_the_published_recipe_is_a_configuration() -> None:
    config = load_config(RECIPE)
    network = PublishedConfig.from_dict(config.model)
    assert config.architecture == "published"
    assert (network.n_layers, network.channels, network.l_max) == (6, 256, 1)
    assert (network.cutoff, network.n_radial, network.forces) == (4.5, 256, "direct")
