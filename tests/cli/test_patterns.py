"""Quoted patterns as inputs: there are more files than a command line can hold."""

import json

import pytest
from ase.build import bulk, molecule
from ase.io import read, write


@pytest.fixture
def library(folder):
    """Three structures in two folders, the last of two frames."""
    frames = [bulk("Cu", cubic=True) for _ in range(4)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    (folder / "lib" / "deep").mkdir(parents=True)
    write("lib/b.extxyz", frames[0])
    write("lib/a.extxyz", frames[1])
    write("lib/deep/c.extxyz", frames[2:])
    return ["lib/a.extxyz", "lib/b.extxyz", "lib/deep/c.extxyz@0", "lib/deep/c.extxyz@1"]


def inputs_of(outcome):
    return [row["input"] for row in json.loads(outcome.out)["results"]]


@pytest.mark.parametrize(
    ("pattern", "which"),
    [("lib/*.extxyz", slice(2)), ("lib/**/*.extxyz", slice(4)), ("lib/**/*.extxyz@1", slice(3, 4))],
)
def test_energies_of_every_file_that_a_pattern_matches(pattern, which, tdn, library):
    outcome = tdn("energy", pattern, "--json")
    assert inputs_of(outcome) == library[which]


def test_pattern_is_relaxed_like_its_files_and_resumed(tdn, library, folder):
    assert tdn("relax", "lib/*", "--output-dir", "lib").code == 0
    told = sorted(atoms.info["input"] for atoms in read("lib/relaxed.extxyz@:"))
    assert told == library
    again = tdn("relax", "lib/*.extxyz", "lib/deep", "--output-dir", "lib", "--resume")
    assert again.code == 0
    assert "already done" in again.err


def test_pattern_of_one_file_is_that_file(tdn, library, files):
    assert tdn("relax", "lib/[a].extxyz").code == 0
    assert "a-relaxed.extxyz" in files()
    refused = tdn("relax", "a-rel*.extxyz", "-o", "a-relaxed.extxyz", "--overwrite")
    assert "a-relaxed.extxyz is an INPUT" in refused.err


def test_files_of_a_pattern_are_not_replaced(tdn, library):
    refused = tdn("energy", "lib/*.extxyz", "-o", "lib/a.extxyz", "--overwrite")
    assert "lib/a.extxyz is an INPUT" in refused.err
    refused = tdn("convert", "lib/*.extxyz", "-o", "lib/b.extxyz", "--overwrite")
    assert "lib/b.extxyz is an INPUT" in refused.err


def test_dynamics_takes_one_file_of_a_pattern(tdn, library, files):
    assert tdn("md", "lib/b*", "--steps", "1").code == 0
    assert "b-md.traj" in files()
    several = tdn("md", "lib/*.extxyz", "--steps", "1")
    assert several.code == 1
    assert several.err == ("Error: lib/*.extxyz: holds several structures; give one of its files\n")


def test_report_and_convert_take_patterns(tdn, library):
    assert tdn("convert", "lib/**/*.extxyz", "-o", "all.extxyz").code == 0
    assert len(read("all.extxyz@:")) == 4
    for name in "ab":
        assert tdn("md", f"lib/{name}.extxyz", "--steps", "4", "--interval", "1").code == 0
    assert json.loads(tdn("report", "*-md.traj", "--json").out)["runs"] == ["a-md", "b-md"]


def test_selftest_takes_patterns(real_tdn, model_folder, folder):
    for name in ("H2O", "CH4"):
        write(f"{name}.xyz", molecule(name))
    outcome = real_tdn("selftest", "*.xyz", "--model", model_folder, "--json")
    structures = {check["structure"] for check in json.loads(outcome.out)["checks"]}
    assert {"0 (CH4)", "1 (H2O)"} <= structures


@pytest.mark.parametrize("command", ["energy", "relax", "convert", "selftest", "md"])
def test_pattern_that_matches_nothing_is_one_line(command, tdn, library):
    options = {"convert": ("-o", "out.extxyz"), "md": ("--steps", "1")}.get(command, ())
    outcome = tdn(command, "lib/*.cif@0", *options)
    assert outcome.code == 1
    assert outcome.err == "Error: lib/*.cif: matches no file\n"


def test_report_of_a_pattern_that_matches_nothing_is_one_line(tdn, library):
    outcome = tdn("report", "lib/*.traj")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: lib/*.traj: matches no run; give")
    assert len(outcome.err.splitlines()) == 1
