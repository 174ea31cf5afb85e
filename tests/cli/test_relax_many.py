"""Many structures relaxed together by a real model."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.constraints import FixBondLengths
from ase.io import read, write

from tdncalc.workflows.claim import claim


@pytest.fixture
def run(real_tdn, model_folder):
    return lambda *args: real_tdn(*args, "--model", model_folder)


@pytest.fixture
def molecules(folder):
    """A file of shaken molecules, and their labels."""
    names = ["H2O", "CH3OH", "C6H6", "CH3CH2OH"] * 6
    frames = [molecule(name) for name in names]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    write("all.extxyz", frames)
    return "all.extxyz"


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def assert_each_once(n):
    labels = Counter(record["input"] for record in lines("relax.jsonl"))
    assert labels == Counter(f"all.extxyz@{index}" for index in range(n))
    assert Counter(atoms.info["input"] for atoms in read("relaxed.extxyz@:")) == labels


def test_many_are_relaxed_and_written_once_each(run, molecules):
    outcome = run("relax", molecules, "--steps", "3")
    assert outcome.code == 3
    assert_each_once(24)
    by_label = {record["input"]: record for record in lines("relax.jsonl")}
    for atoms in read("relaxed.extxyz@:"):
        assert by_label[atoms.info["input"]]["energy_eV"] == atoms.get_potential_energy()


def test_constraints_that_the_file_of_results_cannot_hold_are_told_of(run, molecules):
    rigid = molecule("H2O")
    rigid.set_constraint(FixBondLengths([(0, 1)]))
    rigid.write("rigid.traj")
    outcome = run("relax", "rigid.traj", f"{molecules}@0", "--steps", "1")
    assert "rigid.traj: relaxed.extxyz has no place for constraints other than" in outcome.err
    assert outcome.err.count("has no place") == 1


def test_summary_of_many_says_what_made_them(run, molecules):
    run("relax", f"{molecules}@:3", "--steps", "2")
    summary = json.loads(Path("relax.json").read_text())
    assert f"{molecules}@:3 --steps 2" in summary["command_line"]
    assert summary["files"]["table"] == "relax.jsonl"
    assert summary["settings"]["steps"] == 2
    assert (summary["n_relaxed"], summary["interrupted"], summary["failed"]) == (3, False, [])


def test_bad_ones_are_named_and_the_rest_is_done(run, molecules, folder):
    write("odd.xyz", molecule("BeH"))
    outcome = run("relax", molecules, "odd.xyz", "--steps", "2")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        line for line in outcome.err.splitlines() if "odd.xyz: element Be" in line
    ]
    assert_each_once(24)


def test_cell_of_a_molecule_is_refused_by_name(run, molecules):
    outcome = run("relax", f"{molecules}@:2", "--cell", "full")
    assert outcome.code == 1
    first, second = outcome.err.splitlines()
    assert first.startswith("Error: all.extxyz@0: cell='full'")
    assert second.startswith("Error: all.extxyz@1: cell='full'")


@pytest.mark.slow
def test_killed_run_is_resumed_with_every_structure_once(run, molecules, model_folder):
    command = [sys.executable, "-m", "tdncalc", "relax", molecules, "-q", "--fmax", "0.01"]
    process = subprocess.Popen([*command, "--model", model_folder], stdout=subprocess.DEVNULL)
    table = Path("relax.jsonl")
    while process.poll() is None and not (table.exists() and table.read_bytes().count(b"\n") > 2):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert 2 < len(table.read_bytes().splitlines()) < 24
    run("relax", molecules, "--resume", "--fmax", "0.01")
    assert_each_once(24)


@pytest.mark.parametrize("inputs", [["in"], ["in/*xyz"], ["in/*xyz@0"], ["first", "in"]])
@pytest.mark.parametrize("left", ["nothing", "all", "no structure", "half of one"])
@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_results_in_a_folder_of_inputs_are_no_input(tdn, folder, inputs, left, option):
    for name in ("first/a.xyz", "in/s.xyz", "in/t.xyz", "in/u.xyz"):
        Path(name).parent.mkdir(exist_ok=True)
        write(name, bulk("Cu", cubic=True))
    options = ("--output-dir", "in", "--fmax", "9")
    if left != "nothing":
        assert tdn("relax", *inputs, *options).code == 0
    if left == "no structure":
        Path("in/relaxed.extxyz").write_bytes(b"")
        Path("in/relax.jsonl").write_bytes(b"")
    if left == "half of one":
        with open("in/relaxed.extxyz", "a") as file:
            file.write("4\nLatt")
    outcome = tdn("relax", *inputs, *options, option)
    assert (outcome.code, "Error" in outcome.err) == (0, False)
    assert len(read("in/relaxed.extxyz", ":")) == 3 + ("first" in inputs)


def test_many_go_to_an_ending_in_capitals_too(run, molecules):
    assert run("relax", f"{molecules}@:2", "--fmax", "9", "-o", "OUT.XYZ").code == 0
    assert len(read("OUT.XYZ", ":", format="extxyz")) == 2


def test_nothing_left_to_resume_is_told(run, molecules):
    told = "relaxed.extxyz: already done, has every structure"
    assert told not in run("relax", f"{molecules}@:2", "--fmax", "9").err
    assert told in run("relax", f"{molecules}@:2", "--fmax", "9", "--resume").err
    assert told not in run("relax", f"{molecules}@:3", "--fmax", "9", "--resume").err


def test_other_settings_are_not_resumed(run, molecules):
    assert run("relax", molecules, "--fmax", "1").code == 0
    before = Path("relax.json").read_text()
    outcome = run("relax", molecules, "--fmax", "0.5", "--resume")
    assert outcome.code == 1
    assert "relax.json was made with fmax=1.0, not 0.5; resume with the same" in outcome.err
    assert Path("relax.json").read_text() == before
    assert run("relax", molecules, "--fmax", "1", "--resume").code == 0


def test_an_input_that_has_changed_is_not_taken_as_done(run, molecules):
    assert run("relax", molecules, "--fmax", "1").code == 0
    frames = read("all.extxyz", ":")
    frames[3].positions[0] += 0.1
    write("all.extxyz", frames)
    outcome = run("relax", molecules, "--fmax", "1", "--resume")
    assert outcome.code == 1
    assert "all.extxyz@3 has changed since it was done in relaxed.extxyz" in outcome.err


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_files_of_a_run_at_work_are_left_alone(tdn, folder, option):
    write("all.extxyz", [bulk("Cu", cubic=True)] * 3)
    assert tdn("relax", "all.extxyz").code == 0
    assert tdn("energy", "all.extxyz", "-o", "out.extxyz").code == 0
    with claim(Path("relaxed.extxyz")), claim(Path("out.extxyz")):
        before = [Path(name).read_bytes() for name in ("relaxed.extxyz", "out.extxyz")]
        for command in (["relax"], ["energy", "-o", "out.extxyz"]):
            outcome = tdn(*command, "all.extxyz", "all.extxyz@0", option)
            assert outcome.code == 1
            assert ": another run is writing to it; wait until it has ended" in outcome.err
            assert "cannot be written" not in outcome.err
        assert [Path(name).read_bytes() for name in ("relaxed.extxyz", "out.extxyz")] == before
