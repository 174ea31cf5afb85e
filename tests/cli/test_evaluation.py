"""Which evaluation the commands run, and how they say so."""

import json

import numpy as np
import pytest
from ase.io import read

from tdncalc.native import build
from tdncalc.workflows.md_checkpoint import load


@pytest.fixture
def run(real_tdn, model_folder, monkeypatch):
    monkeypatch.delenv("TDNCALC_EVALUATION")
    return lambda *args: real_tdn(*args, "--model", model_folder)


@pytest.mark.parametrize("evaluation", ["eager", "compiled"])
def test_evaluation_is_chosen_and_recorded(run, water, evaluation):
    facts = json.loads(run("energy", water, "--json", "--evaluation", evaluation).out)
    assert facts["evaluation"] == evaluation


def test_verbose_says_what_evaluates(run, water):
    assert (
        "a compiled kernel evaluates" in run("energy", water, "-v", "--evaluation", "compiled").err
    )
    assert (
        "PyTorch evaluates: it was asked for"
        in run("energy", water, "-v", "--evaluation", "eager").err
    )
    assert run("energy", water, "--evaluation", "eager").err == ""


def test_compiled_without_a_compiler_says_what_to_do(run, water, monkeypatch, tmp_path):
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    outcome = run("energy", water, "--evaluation", "compiled")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "'compiled' is not possible: there is no C++ compiler; install one" in outcome.err


def test_resumed_run_is_evaluated_as_before(run, water, monkeypatch, tmp_path):
    options = ("--checkpoint-interval", "5", "--interval", "5")
    run("md", water, "--steps", "20", "--evaluation", "compiled", *options, "--output-dir", "whole")
    run("md", water, "--steps", "10", "--evaluation", "compiled", *options)
    checkpoint = load(tmp_path / "water-md.checkpoint")
    assert checkpoint.evaluation == "compiled"
    run("md", water, "--steps", "20", "--resume", *options)
    straight, resumed = read("whole/water-md.traj@:"), read("water-md.traj@:")
    assert len(straight) == len(resumed) == 5
    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_short_run_does_not_wait_for_a_compiler(run, water, monkeypatch, tmp_path):
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "empty"))
    run("md", water, "--steps", "3")
    assert load(tmp_path / "water-md.checkpoint").evaluation == "eager"


@pytest.mark.slow
def test_dry_run_measures_the_kernel_that_the_run_will_have(run, water, monkeypatch, tmp_path):
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "empty"))
    facts = json.loads(run("relax", water, "--dry-run", "--json").out)
    assert facts["evaluation"] == "compiled"


def test_dry_run_without_a_compiler_measures_pytorch(run, water, monkeypatch, tmp_path):
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    facts = json.loads(run("relax", water, "--dry-run", "--json").out)
    assert facts["evaluation"] == "eager"
    assert facts["estimate"]["seconds"] > 0
