"""Every input that cannot be used: its exit code, one line that names it, nothing written."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

EMT = Path(__file__).parent / "emt.py"


def overlapping():
    atoms = molecule("H2O")
    atoms.positions[1] = atoms.positions[0]
    return atoms


def infinite():
    atoms = molecule("H2O")
    atoms.positions[1, 0] = np.inf
    return atoms


def flat():
    return Atoms("Cu2", [[0, 0, 0], [1, 1, 0]], cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True)


def unknown():
    atoms = molecule("H2O")
    atoms.numbers[1] = 82
    return atoms


def save(atoms):
    return lambda path: write(path, atoms, format="extxyz")


def text(content):
    return lambda path: path.write_bytes(content)


STRUCTURES = {
    "missing.xyz": (lambda path: None, ""),
    "empty.xyz": (text(b""), ""),
    "truncated.xyz": (text(b"3\n\nO 0 0 0\nH 0 0 1\n"), ""),
    "binary.xyz": (text(bytes(range(256)) * 8), ""),
    "unknown.format": (text(b"hello, world\n"), ""),
    "nobody.extxyz": (text(b"0\n\n"), ""),
    "nan.extxyz": (text(b"1\n\nCu nan 0 0\n"), ""),
    "infinite.extxyz": (save(infinite()), ""),
    "overlapping.extxyz": (save(overlapping()), ""),
    "flat.extxyz": (save(flat()), ""),
    "lead.extxyz": (save(unknown()), "Pb (atom 1)"),
}
COMMANDS = [("energy",), ("relax",), ("md", "--steps", "2")]


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_structure_is_named_in_one_line_and_nothing_written(name, command, tdn, folder, files):
    make, culprit = STRUCTURES[name]
    make(folder / name)
    before = files()
    elsewhere = () if command == ("energy",) else ("--output-dir", "new")
    outcome = tdn(*command, name, "-o", "out.extxyz", *elsewhere)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: ")
    assert len(outcome.err.splitlines()) == 1
    assert name in outcome.err
    assert culprit in outcome.err
    assert "unexpected" not in outcome.err
    assert files() == before
    assert outcome.out == ""


OPTIONS = [
    ("relax", "--fmax", "0"),
    ("relax", "--fmax", "-0.1"),
    ("relax", "--fmax", "nan"),
    ("relax", "--fmax", "much"),
    ("relax", "--steps", "-1"),
    ("relax", "--optimizer", "magic"),
    ("relax", "--cell", "round"),
    ("relax", "--pressure", "inf"),
    ("relax", "--pressure", "1"),
    ("relax", "--fix", "99"),
    ("relax", "--fix", "Xx"),
    (
        "relax",
        "--unknown-option",
    ),
    ("md", "--temperature", "0"),
    ("md", "--temperature", "-300"),
    ("md", "--temperature", "300:0"),
    ("md", "--temperature", "300:400:500"),
    ("md", "--temperature", "hot"),
    ("md", "--pressure", "0:5"),
    ("md", "--cell", "full"),
    ("md", "--cell", "round"),
    ("md", "--wall-time", "60"),
    ("md", "--wall-time", "0 s"),
    ("md", "--wall-time", "12:30"),
    ("md", "--timestep", "0"),
    ("md", "--timestep", "-1"),
    ("md", "--steps", "-5"),
    ("md", "--time", "10"),
    ("md", "--time", "long"),
    ("md", "--interval", "0"),
    ("md", "--checkpoint-interval", "0"),
    ("md", "--friction", "-1"),
    ("md", "--thermostat-time", "0"),
    ("md", "--barostat-time", "0"),
    ("md", "--max-force", "-1"),
    ("md", "--min-distance", "0"),
    ("md", "--max-temperature", "0"),
    ("md", "--ensemble", "nvt"),
    ("md", "--pressure", "1"),
    ("md", "--seed", "-1"),
    ("energy", "--threads", "0"),
    ("energy", "--dtype", "float16"),
]


@pytest.mark.parametrize("typed", OPTIONS, ids=" ".join)
def test_option_is_named_in_one_line_and_nothing_written(typed, tdn, copper, files):
    command, option, *_ = typed
    length = ["--steps", "2"] if command == "md" and option not in ("--steps", "--time") else []
    outcome = tdn(*typed, *length, copper)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert option.lstrip("-") in outcome.err
    assert files() == [copper]


@pytest.mark.parametrize("length", [(), ("--steps", "2", "--time", "1 ps")])
def test_length_of_a_run_is_given_exactly_once(length, tdn, copper, files):
    outcome = tdn("md", copper, *length)
    assert outcome.code == 2
    assert "exactly one of --steps" in outcome.err
    assert files() == [copper]


def test_no_input_is_a_usage_error(tdn):
    assert tdn("relax").code == 2


@pytest.mark.parametrize(
    "option", [("--cell", "full"), ("--fix-symmetry",), ("--cell", "xy")], ids=" ".join
)
def test_molecule_has_no_cell_to_relax(option, tdn, water, files):
    outcome = tdn("relax", water, *option)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert water in outcome.err
    assert files() == [water]


def test_trajectory_of_several_is_a_usage_error(tdn, copper, water, files):
    assert tdn("relax", copper, water, "--trajectory", "x.traj").code == 2
    assert files() == [copper, water]


def test_several_go_to_no_other_format(tdn, copper, water, files):
    outcome = tdn("relax", copper, water, "-o", "x.cif")
    assert outcome.code == 2
    assert "x.cif" in outcome.err
    assert files() == [copper, water]


EXISTING = [
    (("energy", "-o", "out.extxyz"), "out.extxyz"),
    (("relax",), "copper-relaxed.extxyz"),
    (("relax",), "copper-relax.traj"),
    (("relax",), "copper-relax.json"),
    (("relax", "-o", "out.cif"), "out.cif"),
    (("relax", "copper.extxyz"), "relaxed.extxyz"),
    (("relax", "copper.extxyz"), "relax.jsonl"),
    (("relax", "copper.extxyz"), "relax.json"),
    (("md", "--steps", "2"), "copper-md.traj"),
    (("md", "--steps", "2"), "copper-md.csv"),
    (("md", "--steps", "2"), "copper-md.checkpoint"),
    (("md", "--steps", "2"), "copper-md.json"),
    (("md", "--steps", "2", "-o", "last.xyz"), "last.xyz"),
]


@pytest.mark.parametrize(("command", "name"), EXISTING)
def test_what_exists_is_not_overwritten(command, name, tdn, copper, folder, monkeypatch, files):
    from tdncalc.cli import session

    def too_late(options):
        raise AssertionError("the model was loaded before the check")

    monkeypatch.setattr(session, "load_calculator", too_late)
    (folder / name).write_text("precious")
    outcome = tdn(*command, copper)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert name in outcome.err
    assert "--overwrite" in outcome.err
    assert "--resume" in outcome.err
    assert (folder / name).read_text() == "precious"
    assert files() == sorted([name, copper])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_unknown_format_of_the_output_is_refused_before_the_work(command, tdn, copper, files):
    outcome = tdn(*command, copper, "-o", "out.nonsense")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "out.nonsense" in outcome.err
    assert outcome.out == ""
    assert files() == [copper]


OUTPUTS = [
    ("energy", "-o", "missing/out.extxyz"),
    ("relax", "-o", "missing/out.extxyz"),
    ("relax", "--trajectory", "missing/all.traj"),
    ("relax", "--output-dir", "copper.extxyz"),
    ("md", "--steps", "2", "--output-dir", "copper.extxyz/deep"),
]


@pytest.mark.parametrize("command", OUTPUTS, ids=" ".join)
def test_folder_that_is_none_is_refused(command, tdn, copper, files):
    outcome = tdn(*command, copper)
    assert outcome.code in (1, 2)
    assert len(outcome.err.splitlines()) == 1
    assert files() == [copper]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda command: command[0])
def test_folder_that_is_not_writable_is_refused(command, tdn, copper, folder):
    (folder / "locked").mkdir(mode=0o500)
    outcome = tdn(*command, copper, "--output-dir", "locked")
    assert outcome.code == 1
    assert "locked" in outcome.err


@pytest.mark.parametrize(
    ("command", "culprit", "size"),
    [
        (("relax", "--fmax", "1e-9", "--cell", "full"), "big-relax.traj", 100_000),
        (("md", "--steps", "50", "--interval", "1"), "big-md.traj", 100_000),
        (("energy", "-o", "out.extxyz"), "out.extxyz", 20_000),
    ],
    ids=["relax", "md", "energy"],
)
def test_full_disk_is_one_line(command, culprit, size, folder):
    """A limit on the size of files stands for the disk."""
    atoms = bulk("Cu", cubic=True) * (5, 5, 5)
    atoms.rattle(0.01)
    write("big.extxyz", atoms)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(
        [sys.executable, EMT, "0", *command, "big.extxyz", "-q"],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert culprit in done.stderr
