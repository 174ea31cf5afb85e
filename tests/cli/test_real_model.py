"""The commands with a model folder, nothing replaced."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.io import read

from tdncalc import TDNCalculator


@pytest.fixture
def run(real_tdn, model_folder):
    return lambda *args: real_tdn(*args, "--model", model_folder)


def test_energy_is_that_of_the_calculator(run, model_folder, water):
    facts = json.loads(run("energy", water, "--json", "--dtype", "float64").out)
    atoms = read(water)
    atoms.calc = TDNCalculator(model_folder, dtype="float64")
    result = facts["results"][0]
    assert result["energy_eV"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
    assert result["max_force_eV_per_A"] == pytest.approx(largest, abs=1e-9)
    assert facts["model"]["name"] == "tiny"
    assert facts["device"] == "cpu"
    assert facts["dtype"] == "float64"


def test_energies_of_molecules_and_crystals_come_together(run, water, copper):
    outcome = run("energy", water, copper, "-o", "out.extxyz")
    assert outcome.code == 0
    assert [len(atoms) for atoms in read("out.extxyz@:")] == [3, 4]


@pytest.mark.parametrize("command", [("relax", "--steps", "2"), ("md", "--steps", "2")])
def test_relaxation_and_dynamics_run(command, run, copper):
    assert run(*command, copper).code in (0, 3)


def test_threads_are_set(run, water):
    import torch

    before = torch.get_num_threads()
    facts = json.loads(run("energy", water, "--json", "--threads", "2").out)
    torch.set_num_threads(before)
    assert facts["threads"] == 2


@pytest.mark.parametrize("command", [("energy",), ("relax",), ("md", "--time", "1 ps")])
def test_dry_run_measures(command, run, copper, files):
    outcome = run(*command, copper, "--dry-run")
    assert outcome.code == 0
    assert "model tiny" in outcome.out
    assert files() == [copper]


@pytest.mark.parametrize(
    ("option", "code"),
    [(("--device", "quantum"), 2), (("--device", "cuda:99"), 2), (("--model", "nonsense"), 1)],
)
@pytest.mark.parametrize("command", [("energy",), ("relax",), ("md", "--steps", "1")])
def test_unknown_device_or_model_is_named(option, code, command, real_tdn, water, files):
    outcome = real_tdn(*command, water, *option)
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 1
    assert option[1] in outcome.err
    assert files() == [water]


def test_terminated_run_leaves_a_checkpoint(model_folder, copper, folder):
    command = ["md", copper, "--steps", "1000000", "--interval", "1", "--model", model_folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "tdncalc", *command], stdout=subprocess.PIPE, text=True
    )
    table = folder / "copper-md.csv"
    while process.poll() is None and not (table.exists() and table.stat().st_size > 0):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in out
    assert len(read("copper-md.traj@:")) == len(table.read_text().splitlines()) - 1
    facts = json.loads((folder / "copper-md.json").read_text())
    assert facts["reason"] == "stopped"


@pytest.mark.parametrize("command", [("md", "--steps", "2"), ("energy", "--dry-run")])
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_what_waits_for_a_compiler_says_so(command, quiet, run, water, tmp_path, monkeypatch):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\nsleep 0.2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TDNCALC_EVALUATION", "auto")
    monkeypatch.setattr("tdncalc.cli.session._WORTH_COMPILING", 0.0)
    monkeypatch.setattr("tdncalc.cli.preview._MEASURING", 0.0)
    outcome = run(*command, water, *quiet)
    assert outcome.code == 0
    line = "the model's kernel is being compiled, once on this machine"
    assert (line in outcome.err) is (not quiet or "--dry-run" in command)
