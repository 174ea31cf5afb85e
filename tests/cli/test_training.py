import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

CONFIG = """\
name: tiny
model: {{elements: [H, C, N, O], channels: 4, edge_channels: 4, hidden: 8, l_max: 1}}
data: {{train: data.extxyz, valid: data.extxyz}}
optimizer:
  {{steps: {steps}, batch_size: 4, validate_every: 2, compiled: false, warmup_steps: 1}}
"""


@pytest.fixture
def labeled(folder):
    frames = []
    for seed in range(8):
        atoms = molecule(["H2O", "CH4", "NH3", "CO2"][seed % 4])
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    write("data.extxyz", frames)
    return "data.extxyz"


@pytest.fixture
def config(labeled, folder):
    (folder / "tiny.yaml").write_text(CONFIG.format(steps=4))
    return "tiny.yaml"


def test_training_leaves_a_model_that_other_commands_take(real_tdn, config, labeled):
    outcome = real_tdn("train", config)
    assert outcome.code == 0
    assert re.search(r"tiny: done, 4 steps, \d+ atoms/s, ", outcome.out)
    assert real_tdn("energy", labeled, "--model", "tiny/model").code == 0


def test_training_tells_whose_level_its_energies_have(real_tdn, config, labeled, folder):
    sets = "{train: {dft: data.extxyz, xtb: data.extxyz}, valid: {dft: data.extxyz}}"
    text = (folder / config).read_text().replace("{train: data.extxyz, valid: data.extxyz}", sets)
    (folder / config).write_text(text)
    outcome = real_tdn("train", config)
    said = "tiny: energies are those of set 'dft'; 'xtb' has a level of its own: tdn evaluate"
    assert f"{said} --level xtb" in outcome.out
    at_level = ["--model", "tiny/model", "--level", "xtb", "--card", "test"]
    assert json.loads(real_tdn("evaluate", labeled, *at_level, "--json").out)["level"] == "xtb"
    card = json.loads((folder / "tiny/model/card.json").read_text())
    assert card["errors"]["test"]["level"] == "xtb"
    nameless = real_tdn("evaluate", labeled, "--model", "tiny/model", "--card", "")
    assert (nameless.code, "--card is empty; give a name" in nameless.err) == (2, True)


def test_run_is_not_overwritten_but_resumed(real_tdn, config, folder):
    assert real_tdn("train", config, "--run-dir", "run").code == 0
    outcome = real_tdn("train", config, "--run-dir", "run")
    assert outcome.code == 1
    assert "run" in outcome.err
    (folder / config).write_text(CONFIG.format(steps=6))
    resumed = real_tdn("train", config, "--run-dir", "run", "--resume", "--json")
    assert json.loads(resumed.out)["steps"] == 6


@pytest.mark.parametrize(
    ("content", "culprit"),
    [
        (None, "bad.yaml"),
        ("name: [", "bad.yaml"),
        ("name: x\nnonsense: 1\n", "bad.yaml"),
        (CONFIG.format(steps=-1), "steps"),
        (CONFIG.format(steps=1).replace("data.extxyz", "lost.extxyz"), "lost.extxyz"),
        (CONFIG.format(steps=1).replace("[H, C, N, O]", "[H, C, N]"), "O"),
    ],
    ids=["missing", "no yaml", "unknown key", "negative", "no data", "unknown element"],
)
def test_bad_configuration_is_one_line(content, culprit, real_tdn, labeled, folder, files):
    if content is not None:
        (folder / "bad.yaml").write_text(content)
    before = files()
    outcome = real_tdn("train", "bad.yaml")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert culprit in outcome.err
    assert "unexpected" not in outcome.err
    assert files() == before


def test_a_run_without_a_model_yet_names_none(real_tdn, config, monkeypatch):
    monkeypatch.setattr("tdncalc.cli.signals.Stop.__call__", lambda _self: True)
    outcome = real_tdn("train", config)
    assert outcome.code == 130
    assert outcome.out.rstrip().endswith("so there is no model; go on with --resume")
    stopped = real_tdn("train", config, "--run-dir", "other", "--json")
    assert json.loads(stopped.out)["model"] is None


@pytest.mark.slow
def test_signal_ends_training_with_a_checkpoint(config, folder):
    (folder / config).write_text(CONFIG.format(steps=100_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "tdncalc", "train", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "tiny" / "log.csv").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped" in out
    assert (folder / "tiny" / "state.pt").exists()


def test_evaluation_prints_errors_and_writes_a_report(real_tdn, labeled, model_folder, folder):
    args = ("evaluate", labeled, "--model", model_folder)
    outcome = real_tdn(*args, "-o", "report.json")
    assert outcome.code == 0
    assert "meV/atom" in outcome.out
    report = json.loads((folder / "report.json").read_text())
    assert report["structures"] == 8
    assert set(report["by_element"]) == {"H", "C", "N", "O"}
    assert json.loads(real_tdn(*args, "--limit", "3", "--json").out)["structures"] == 3
    fitted = json.loads(real_tdn(*args, "--fit-references", "--json").out)
    assert set(fitted["fitted_references"]) == {"H", "C", "N", "O"}
    assert fitted["energy_RMSE_meV_per_atom"] < report["energy_RMSE_meV_per_atom"]
    outcome = real_tdn(*args, "--limit", "3", "--fit-references")
    assert outcome.code == 1
    assert "too few structures (3)" in outcome.err


def test_evaluation_has_no_cosine_of_forces_that_are_zero(real_tdn, labeled, model_folder, folder):
    frames = read(labeled, ":")
    for atoms in frames:
        results = {"energy": atoms.get_potential_energy(), "forces": np.zeros((len(atoms), 3))}
        atoms.calc = SinglePointCalculator(atoms, **results)
    write("still.extxyz", frames)
    outcome = real_tdn("evaluate", "still.extxyz", "--model", model_folder)
    assert outcome.out.splitlines()[1].split()[-2:] == ["-", "-"]  # nor is there a stress


@pytest.mark.parametrize(("option", "name"), [("-o", "e.csv"), ("--plot", "e.pdf")])
def test_evaluation_has_one_format_for_each_file(real_tdn, labeled, folder, option, name):
    before = sorted(folder.iterdir())
    outcome = real_tdn("evaluate", labeled, option, name)
    ending = ".json" if option == "-o" else ".png"
    assert outcome.code == 2
    assert outcome.err == f"Error: {option} {name}: its name must end in {ending}\n"
    assert sorted(folder.iterdir()) == before


def test_data_without_labels_are_named(real_tdn, model_folder, water):
    outcome = real_tdn("evaluate", water, "--model", model_folder)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert water in outcome.err


@pytest.mark.parametrize("model", [[], ["--model", "metals"]])
def test_cards_of_bundled_models_are_not_written_to(real_tdn, labeled, model):
    outcome = real_tdn("evaluate", labeled, *model, "--card", "test")
    assert outcome.code == 2
    name = model[1] if model else "organic"
    assert outcome.err.startswith(f"Error: --card would write into the model {name}, which is b")


@pytest.mark.parametrize(
    ("command", "options"), [(["evaluate"], ["--card", "test"]), (["models", "calibrate"], [])]
)
def test_a_model_that_cannot_be_written_to_is_refused_before_any_work(
    command, options, real_tdn, model_folder, folder, monkeypatch
):
    shutil.copytree(model_folder, "locked")
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "locked")
    model = ["locked"] if not options else ["--model", "locked"]
    outcome = real_tdn(*command, *model, "missing.extxyz", *options)
    assert outcome.code == 1
    assert "would write into locked, which cannot be written; give the folder" in outcome.err


def test_errors_go_into_the_card_under_a_name(real_tdn, labeled, model_folder, folder):
    shutil.copytree(model_folder, "copy")
    assert real_tdn("evaluate", labeled, "--model", "copy", "--card", "test").code == 0
    card = json.loads((folder / "copy" / "card.json").read_text())
    assert card["errors"]["test"]["data"] == ["data.extxyz"]
    shown = real_tdn("models", "show", "copy").out
    error = card["errors"]["test"]["forces_MAE_meV_per_A"]
    assert f"forces_MAE_meV_per_A: {error:.4g}" in shown
