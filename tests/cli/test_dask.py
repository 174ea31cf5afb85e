"""Many structures on a real cluster of three worker processes on this machine."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import read, write
from distributed import LocalCluster

from tdncalc.errors import CheckpointError
from tdncalc.workflows.many.cluster import WorkerModel, _load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as made:
        yield made


@pytest.fixture
def run(real_tdn, model_folder, cluster):
    where = ("--model", model_folder, "--dask", cluster.scheduler_address)
    return lambda *args: real_tdn(*args, *where)


@pytest.fixture
def molecules(folder):
    frames = [molecule(["H2O", "CH3OH", "C6H6"][index % 3]) for index in range(240)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    write("all.extxyz", frames)
    return frames


def kill_when(condition, pid, how=signal.SIGKILL):
    def wait():
        while not condition():
            time.sleep(0.01)
        os.kill(pid, how)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_every_structure_comes_back_once_though_a_worker_is_killed(run, molecules, cluster):
    table = Path("relax.jsonl")
    victim = next(iter(cluster.workers.values())).pid
    killed = kill_when(lambda: table.exists() and table.stat().st_size > 0, victim)
    outcome = run("relax", "all.extxyz", "--steps", "8", "--fmax", "0.01")
    killed.join(timeout=5)
    assert not killed.is_alive()
    assert outcome.code in (0, 3)
    expected = Counter(f"all.extxyz@{index}" for index in range(240))
    assert Counter(inputs_in(table)) == expected
    frames = read("relaxed.extxyz@:")
    assert Counter(atoms.info["input"] for atoms in frames) == expected
    for atoms in frames:
        given = molecules[int(atoms.info["input"].partition("@")[2])]
        assert atoms.get_chemical_formula() == given.get_chemical_formula()


def inputs_in(table):
    return [json.loads(line)["input"] for line in table.read_text().splitlines()]


def test_interrupted_run_keeps_what_came_home_and_goes_on(run, molecules, cluster):
    table = Path("relax.jsonl").absolute()
    command = ("relax", "all.extxyz", "--steps", "8", "--fmax", "0.01")
    stopped = kill_when(
        lambda: table.exists() and table.stat().st_size > 0, os.getpid(), signal.SIGINT
    )
    outcome = run(*command)
    stopped.join(timeout=5)
    assert outcome.code == 130
    home = inputs_in(table)
    assert 0 < len(home) < 240
    assert [atoms.info["input"] for atoms in read("relaxed.extxyz@:")] == home
    assert all(worker.status.name == "running" for worker in cluster.workers.values())
    assert run(*command, "--resume").code in (0, 3)
    labels = inputs_in(table)
    assert labels[: len(home)] == home
    assert Counter(labels) == Counter(f"all.extxyz@{index}" for index in range(240))
    assert [atoms.info["input"] for atoms in read("relaxed.extxyz@:")] == labels


@pytest.fixture
def lone(folder):
    """A scheduler and a worker that are processes of their own."""
    begin = [sys.executable, "-m", "dask"]
    file = folder / "scheduler.json"
    ends = ("--no-dashboard",)
    places = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
    with ExitStack() as stack:
        scheduler = stack.enter_context(_process([*begin, "scheduler", *places, *ends]))
        while not file.exists():
            time.sleep(0.1)
        stack.enter_context(_process([*begin, "worker", "--scheduler-file", file, *ends]))
        yield scheduler, file


@contextmanager
def _process(command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        yield process
        process.kill()


def test_a_scheduler_that_is_killed_is_one_line(real_tdn, model_folder, molecules, lone):
    scheduler, file = lone
    table = Path("relax.jsonl")
    killed = kill_when(lambda: table.exists() and table.stat().st_size > 0, scheduler.pid)
    options = ("--model", model_folder, "--fmax", "1e-4", "--dask", file)
    outcome = real_tdn("relax", "all.extxyz", *options)
    killed.join(timeout=5)
    assert outcome.code == 1
    told = "Error: the Dask scheduler is gone; what was done is kept, go on with --resume"
    assert outcome.err.splitlines()[-1] == told
    assert "Traceback" not in outcome.err
    assert "distributed" not in outcome.err


def test_energies_are_those_of_this_machine(run, molecules, real_tdn, model_folder):
    here = real_tdn("energy", "all.extxyz@:50", "--model", model_folder, "--json")
    there = run("energy", "all.extxyz@:50", "--json")
    energies = [
        {row["input"]: row["energy_eV"] for row in json.loads(outcome.out)["results"]}
        for outcome in (here, there)
    ]
    assert energies[0].keys() == energies[1].keys()
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)


def test_address_without_a_scheduler_is_told(real_tdn, model_folder, molecules, monkeypatch):
    monkeypatch.setattr("tdncalc.workflows.many.cluster._CONNECT_S", "0.2s")
    outcome = real_tdn(
        "relax", "all.extxyz", "--model", model_folder, "--dask", "tcp://127.0.0.1:1"
    )
    assert outcome.code == 2
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in outcome.err


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"address": 5}'])
def test_a_damaged_scheduler_file_is_told(real_tdn, model_folder, molecules, content):
    Path("scheduler.json").write_text(content)
    options = ("--model", model_folder, "--dask", "scheduler.json")
    outcome = real_tdn("relax", "all.extxyz", *options)
    assert outcome.code == 2
    assert "no Dask scheduler answers at 'scheduler.json'" in outcome.err


def test_a_worker_without_the_model_is_told_of():
    missing = WorkerModel("no/model", "cpu", "float32", "eager", None, "0")
    with pytest.raises(CheckpointError, match="a worker has no model 'no/model'"):
        _load(missing)
