"""Names of files and texts in them that are not plain ASCII, from INPUT to every result."""

import os
import subprocess
import sys

import pytest
from ase.build import bulk
from ase.io import read, write

LATIN = os.fsdecode(b"caf\xe9.extxyz")  # not UTF-8
NAMES = [LATIN, "a b.extxyz", "two\nlines.extxyz", "ünï.extxyz", "{x}.extxyz", "z.extxyz"]


@pytest.fixture
def named(folder):
    """Structures in files of odd names."""
    for name in NAMES:
        write("plain.extxyz", bulk("Cu", cubic=True))
        os.rename("plain.extxyz", name)
    return NAMES


def test_energies_of_any_name_are_kept_and_resumed(tdn, named):
    assert tdn("energy", *named, "-o", "out.extxyz").code == 0
    assert len(read("out.extxyz", ":")) == len(NAMES)
    again = tdn("energy", *named, "-o", "out.extxyz", "--resume")
    assert (again.code, again.out) == (0, "")
    assert len(read("out.extxyz", ":")) == len(NAMES)


def test_relaxations_of_any_name_are_kept_and_resumed(tdn, named):
    assert tdn("relax", *named).code == 0
    assert len(read("relaxed.extxyz", ":")) == len(NAMES)
    assert tdn("relax", *named, "--resume").code == 0
    assert len(read("relaxed.extxyz", ":")) == len(NAMES)
    assert tdn("report", ".", "-o", "page.html").code == 0


@pytest.mark.parametrize("name", [LATIN, "a$b_^{$c.extxyz"])
def test_one_structure_of_any_name_has_all_of_its_files(name, tdn, folder):
    write("plain.extxyz", bulk("Cu", cubic=True))
    os.rename("plain.extxyz", name)
    assert tdn("relax", name, "--plot").code == 0
    assert tdn("md", name, "--steps", "2", "--interval", "1", "--plot").code == 0
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.png"))) == 2
    assert tdn("report", ".", "-o", "page.html").code == 0


def test_empty_text_of_a_structure_does_not_hide_its_name(tdn, folder):
    atoms = bulk("Cu", cubic=True)
    atoms.info["comment"] = ""
    write("a.traj", atoms)
    assert tdn("energy", "a.traj", "-o", "out.extxyz").code == 0
    assert tdn("energy", "a.traj", "-o", "out.extxyz", "--resume").out == ""


def test_letters_that_a_terminal_lacks_are_no_error():
    command = [sys.executable, "-m", "tdncalc", "energy", "→.xyz"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert b"no such file" in done.stderr
