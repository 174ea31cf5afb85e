"""What a user is told of the novelty, with a model whose novelty is large everywhere."""

import csv
import json
import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from tdncalc import cards
from tdncalc.checkpoint import add_novelty
from tests.test_novelty import some_novelty


@pytest.fixture
def model(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "strange")
    add_novelty(copy, some_novelty(16, 16), {"quantile": 0.5})
    return copy


@pytest.fixture
def metal(folder):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    write("metal.extxyz", atoms)
    return "metal.extxyz"


def test_energy_prints_writes_and_warns_of_it(real_tdn, model, metal):
    outcome = real_tdn("energy", metal, "--model", model, "-o", "out.extxyz")
    (row,) = outcome.out.splitlines()[1:]
    frame = read("out.extxyz")
    assert float(row.split()[3]) == pytest.approx(frame.info["novelty"], abs=0.005)
    assert frame.info["novelty"] == pytest.approx(frame.arrays["novelties"].max())
    warnings = [line for line in outcome.err.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 1
    assert "metal.extxyz: Cu (atom" in warnings[0]
    assert "unlike the training set: novelty" in warnings[0]
    results = json.loads(real_tdn("energy", metal, "--model", model, "--json").out)["results"]
    assert results[0]["novelty"] == pytest.approx(frame.info["novelty"], rel=1e-6)


def test_a_model_without_it_prints_none(real_tdn, model_folder, metal):
    outcome = real_tdn("energy", metal, "--model", model_folder, "-o", "out.extxyz")
    assert outcome.out.splitlines()[1].split()[3] == "-"
    assert "unlike" not in outcome.err
    assert "novelty" not in read("out.extxyz").info
    assert "novelty: none" in real_tdn("models", "show", model_folder).out


def test_dry_run_tells_it(real_tdn, model, metal):
    out = real_tdn("md", metal, "--steps", "5", "--dry-run", "--model", model).out
    facts = json.loads(real_tdn("relax", metal, "--dry-run", "--json", "--model", model).out)
    assert f"novelty {facts['structures'][0]['novelty']:.2f}" in out


def test_md_records_it_and_warns_once(real_tdn, model, metal):
    outcome = real_tdn("md", metal, "--steps", "4", "--interval", "2", "--model", model)
    assert outcome.code == 0
    with open("metal-md.csv") as file:
        rows = list(csv.DictReader(file))
    frames = read("metal-md.traj", ":")
    assert list(rows[0])[-1] == "novelty"
    assert [float(row["novelty"]) for row in rows] == pytest.approx(
        [frame.info["novelty"] for frame in frames], abs=1e-4
    )
    assert outcome.err.count("unlike the training set") == 1
    assert "metal.extxyz: step 0: Cu (atom" in outcome.err


@pytest.mark.parametrize("command", [("md", "--steps", "9"), ("relax",)])
def test_max_novelty_is_a_guard(real_tdn, model, metal, command):
    name, *length = command
    limit = ("--max-novelty", "0.001", "-o", "last.extxyz")
    outcome = real_tdn(name, metal, *length, *limit, "--model", model)
    assert outcome.code == 4
    assert "guard: the novelty" in outcome.out
    assert "is above the 0.001 of max_novelty" in outcome.out
    assert np.allclose(read("last.extxyz").positions, read(metal).positions)


@pytest.mark.parametrize("command", ["relax", "md"])
def test_help_says_what_is_above_1_of_every_model(tdn, command):
    assert all(
        cards.read_card(name)["novelty"]["quantile"] >= 0.995 for name in cards.bundled_models()
    )
    assert "its outermost 0.5 % or less." in " ".join(tdn(command, "--help").out.split())


def test_calibrate_makes_it(real_tdn, model_folder, tmp_path, folder):
    frames = []
    for index in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=index)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    write("data.extxyz", frames[:4])
    write("others.extxyz", frames[4:])
    model = shutil.copytree(model_folder, tmp_path / "plain")
    outcome = real_tdn("models", "calibrate", model, "data.extxyz", "--held-out", "others.extxyz")
    assert outcome.code == 0
    assert "4 structures, 16 atoms; of 2 held-out structures" in outcome.out
    shown = json.loads(real_tdn("models", "show", model, "--json").out)
    assert shown["novelty"]["held_out"]["structures"] == 2
    results = json.loads(real_tdn("energy", "data.extxyz", "--model", model, "--json").out)
    assert max(row["novelty"] for row in results["results"]) == pytest.approx(1, abs=0.05)


def test_calibrate_leaves_bundled_models_alone(real_tdn, model_folder, folder, monkeypatch):
    monkeypatch.setattr(cards, "_bundled_root", lambda: model_folder.parent)
    before = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    outcome = real_tdn("models", "calibrate", model_folder.name, "missing.extxyz")
    assert outcome.code == 2
    assert outcome.err.startswith("Error: calibrate would write into the model tiny, which is bund")
    assert {path.name: path.read_bytes() for path in model_folder.iterdir()} == before
