import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from tdncalc.cli import session
from tdncalc.cli.main import main

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def emt(monkeypatch):
    """ASE's EMT in the place of every model."""
    monkeypatch.syspath_prepend(HERE)
    from emt import SlowEMT

    monkeypatch.setattr(session, "load_calculator", lambda options: SlowEMT())


@pytest.fixture
def other_model(emt, monkeypatch):
    """Put another model, of nearly the same energies, in the place of the first."""
    from emt import SlowEMT

    def load(options):
        model = SlowEMT()
        model.model_identity |= {"name": "other", "sha256": "f" * 64}
        return model

    return lambda: monkeypatch.setattr(session, "load_calculator", load)


@pytest.fixture
def real_tdn(folder, capfd):
    """Run ``tdn`` in this process."""

    def run(*args):
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def tdn(real_tdn, emt):
    """Run ``tdn`` in this process, with EMT in the place of a model."""
    return real_tdn


@pytest.fixture
def start(folder):
    """Start ``tdn`` with EMT in a process of its own, slowed down by some seconds a step."""
    started = []

    def run(*args, seconds=0.0):
        command = [sys.executable, HERE / "emt.py", str(seconds), *args]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def water(folder):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    write("water.xyz", atoms)
    return "water.xyz"


@pytest.fixture
def copper(folder):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    write("copper.extxyz", atoms)
    return "copper.extxyz"


@pytest.fixture
def hot(folder):
    """Copper at 1000 K or so."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_momenta(np.random.default_rng(1).normal(0.0, 4.5, (4, 3)))
    write("hot.traj", atoms)
    return "hot.traj"


@pytest.fixture
def files(folder):
    """Give the names of the files in the current folder."""
    return lambda: sorted(path.name for path in folder.iterdir())
