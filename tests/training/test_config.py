from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdncalc.errors import ConfigError
from tdncalc.training.config import OptimizerConfig, load_config
from tdncalc.training.reading import paths_of
from tdncalc.training.schedule import energy_weight, learning_rate


def change(path: Path, section: str, key: str, value: Any) -> Path:
    content = yaml.safe_load(path.read_text())
    if section:
        content[section][key] = value
    else:
        content[key] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_configuration_is_read_whole(config_file: Path, data_folder: Path) -> None:
    config = load_config(config_file)
    assert config.name == "tiny"
    assert config.model["channels"] == 8
    assert config.data.train == {"": ("all.extxyz#split=train",)}
    assert config.data_root() == data_folder
    assert config.optimizer.ema_decay == OptimizerConfig(steps=1).ema_decay


def test_a_date_in_the_card_is_a_text(config_file: Path) -> None:
    change(config_file, "card", "made", date(2025, 2, 1))
    assert load_config(config_file).card["made"] == "2025-02-01"


def test_sets_of_files_keep_their_names_and_order(config_file: Path) -> None:
    change(config_file, "data", "train", {"pbe": ["a.xyz", "b.npz"], "hf": "c.xyz"})
    config = load_config(change(config_file, "data", "valid", {"hf": ["d.xyz"]}))
    assert list(config.data.train.items()) == [("pbe", ("a.xyz", "b.npz")), ("hf", ("c.xyz",))]


def test_the_environment_names_the_data_root(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDNCALC_DATA", "/somewhere")
    assert load_config(config_file).data_root() == Path("/somewhere")
    monkeypatch.setenv("TDNCALC_DATA", "here")
    assert load_config(config_file).data_root() == Path("here")


def test_a_data_root_may_lie_in_the_home_folder(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TDNCALC_DATA", raising=False)
    config = load_config(change(config_file, "data", "root", "~/sets"))
    assert config.data_root() == tmp_path / "sets"
    (tmp_path / "a.xyz").touch()
    assert paths_of("~/a.xyz", config.data_root()) == [tmp_path / "a.xyz"]


def test_architecture_is_that_of_the_model_to_go_on_from(config_file: Path) -> None:
    change(config_file, "", "architecture", "tdn")
    change(config_file, "", "model", {})
    with pytest.raises(ConfigError, match=r"architecture: .* from 'organic' has that model's, rem"):
        load_config(config_file, "organic")


def test_data_paths_start_from_the_configuration_without_a_root(config_file: Path) -> None:
    change(config_file, "data", "root", "")
    assert load_config(config_file).data_root() == config_file.parent


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("", "colour", "red", "unknown setting 'colour'; allowed: from, name, model"),
        ("", 1, "red", "the file: setting 1 has no text as its name"),
        ("model", True, "red", "model: setting True has no text as its name"),
        ("", "architecture", ["tdn"], r"architecture \['tdn'\] is not known; allowed: tdn"),
        ("", "name", " ", "name is empty; give the model one"),
        ("", "start", "organic", "unknown setting 'start'; allowed: from, "),
        ("", "from", None, "from is None, but must be the name of a bundled model or the path"),
        ("", "from", ["organic"], r"from is \['organic'\], but must be the name of a bundled"),
        ("optimizer", "stepps", 3, "optimizer: unknown setting 'stepps'"),
        ("optimizer", "steps", "many", "optimizer: steps is 'many', but must be an integer"),
        ("optimizer", "steps", 0, "steps is 0, but must be above 0"),
        ("optimizer", "batch_size", -1, "batch_size is -1, but must be above 0"),
        ("optimizer", "compiled", 3, "compiled is 3, but must be true or false"),
        ("optimizer", "weight_decay", -0.1, "weight_decay is -0.1, but must be 0 or more"),
        ("optimizer", "ema_decay", 1.5, "ema_decay is 1.5, but must lie in 0 to 1"),
        ("optimizer", "seed", -1, "seed is -1, but must be 0 or more"),
        ("optimizer", "seed", 2**64, "seed is 18446744073709551616, but must be below 2\\^64"),
        ("optimizer", "method", "sgd", "method is 'sgd'; allowed: muon, adam"),
        ("optimizer", "stress_weight", float("inf"), "stress_weight is inf, but must be 0 or more"),
        ("optimizer", "clip_norm", 0, "clip_norm is 0.0, but must be above 0"),
        ("model", "layers", 3, "model: unknown setting 'layers'; allowed: elements, cutoff"),
        ("model", "channels", 0, "model: channels is 0, but must be above 0"),
        ("model", "channels", "64", "model: channels is '64', but must be an integer"),
        ("model", "l_max", -1, "model: l_max is -1, but must be 0 to 6"),
        ("model", "l_max", 7, "model: l_max is 7, but must be 0 to 6"),
        ("model", "cutoff", "5 A", "model: cutoff is '5 A', but must be a number"),
        ("model", "cutoff", float("nan"), "model: cutoff is nan, but must be above 0"),
        ("model", "edge_product", "foo", "model: edge_product is 'foo'; allowed: dense, cp, cg"),
        ("model", "elements", "HC", "model: elements is 'HC', but must be a list of symbols"),
        ("model", "elements", 1, "model: elements is 1, but must be a list of symbols"),
        ("model", "elements", [], "model: elements is empty"),
        ("model", "elements", ["H", "Q"], "model: elements has 'Q', which is no element"),
        ("model", "elements", ["H", "H"], "model: elements has 'H' twice"),
        ("model", "n_neighbors", 3, "n_neighbors is measured on the data"),
        ("", "data", [1], "data must be a mapping"),
        ("", "optimizer", {}, "optimizer: setting 'steps' is missing"),
        (
            "",
            "data",
            {"train": "a"},
            "data: either valid must name files to validate on, or valid_f",
        ),
        ("data", "valid_fraction", 0.1, "data: either valid must name files"),
        ("", "data", {"train": "a", "valid_fraction": 1.5}, "valid_fraction, between 0 and 1, say"),
        (
            "",
            "data",
            {"train": "a", "valid_fraction": 0.1, "packed": True},
            "data: nothing is held out of packed data",
        ),
        ("", "card", "PBE", "card must be a mapping"),
        ("card", "levels", "PBE", "card: levels is written by the run itself"),
        ("card", "name", "other", "card: name is written by the run itself"),
        ("data", "valid_limit", 0, "data: valid_limit is 0, but must be above 0"),
        ("data", "train", {"dft": [1]}, "train dft must be file names"),
        ("data", "replay", [], r"data: replay must be file names, got \[\]"),
        ("data", "valid", {"dft": ["a"]}, "valid set 'dft' is not one of those to train on"),
    ],
)
def test_what_is_wrong_is_named(
    config_file: Path, section: str, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"train.yaml: .*{message}"):
        load_config(change(config_file, section, key, value))


@pytest.mark.parametrize("content", ["a: [", "\x00\x01", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"c\.yaml: "):
        load_config(tmp_path / "c.yaml")


def test_a_setting_that_stands_twice_is_refused(config_file: Path) -> None:
    text = config_file.read_text()
    config_file.write_text(text.replace("  train:", "  train: [more.extxyz]\n  train:"))
    with pytest.raises(ConfigError, match=r"train\.yaml: .*'train' stands twice .*line \d+"):
        load_config(config_file)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
        load_config(tmp_path / "gone.yaml")


def test_the_learning_rate_warms_up_stays_and_falls_to_a_hundredth() -> None:
    options = OptimizerConfig(steps=1000, learning_rate=0.1, warmup_steps=100, decay=0.5)
    assert learning_rate(options, 49) == pytest.approx(0.05)
    assert learning_rate(options, 100) == learning_rate(options, 499) == pytest.approx(0.1)
    assert learning_rate(options, 750) == pytest.approx(0.1 * 0.505)
    assert learning_rate(options, 1000) == pytest.approx(0.001)


def test_the_energy_weight_moves_while_the_learning_rate_falls() -> None:
    options = OptimizerConfig(steps=1000, decay=0.5, energy_weight=2.0, final_energy_weight=8.0)
    assert energy_weight(options, 400) == pytest.approx(2.0)
    assert energy_weight(options, 750) == pytest.approx(4.0)
    assert energy_weight(options, 1000) == pytest.approx(8.0)


def test_the_energy_weight_moves_from_and_to_zero() -> None:
    options = OptimizerConfig(steps=1000, decay=0.5, energy_weight=0.0, final_energy_weight=8.0)
    assert [energy_weight(options, step) for step in (400, 750, 1000)] == [0.0, 4.0, 8.0]
    none = replace(options, final_energy_weight=0.0)
    assert [energy_weight(none, step) for step in (0, 750, 1000)] == [0.0, 0.0, 0.0]
