import signal
import time
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


@pytest.fixture(autouse=True)
def heeded():
    """Let programs that are started heed signals that these tests ignore, under nohup, say."""
    ignored = [n for n in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def size(path):
    return Path(path).stat().st_size if Path(path).exists() else 0


def finish(process, number):
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return out


@SIGNALS
def test_signal_ends_a_relaxation_with_what_there_is(number, start, copper):
    process = start("relax", copper, "--fmax", "1e-9", "--cell", "full", seconds=0.1)
    wait_for(lambda: size("copper-relax.traj") > 0)
    out = finish(process, number)
    assert process.returncode == 130
    assert "stopped" in out
    read("copper-relaxed.extxyz").get_forces()
    assert '"reason": "stopped"' in Path("copper-relax.json").read_text()


@SIGNALS
def test_signal_ends_a_run_with_a_checkpoint(number, start, tdn, copper):
    process = start("md", copper, "--steps", "1000", "--interval", "1", seconds=0.1)
    wait_for(lambda: size("copper-md.csv") > 0)
    out = finish(process, number)
    assert process.returncode == 130
    assert "stopped" in out
    steps = len(read("copper-md.traj@:"))
    assert tdn("md", copper, "--steps", "20", "--interval", "1", "--resume").code == 0
    assert steps < len(read("copper-md.traj@:")) == 21


@SIGNALS
def test_signal_between_many_keeps_those_that_are_done(number, start, tdn, folder):
    names = [f"{index}.extxyz" for index in range(5)]
    for seed, name in enumerate(names):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        write(name, atoms)
    process = start("relax", *names, seconds=0.1)
    wait_for(lambda: size("relax.jsonl") > 0)
    finish(process, number)
    assert process.returncode == 130
    done = len(read("relaxed.extxyz@:"))
    assert 1 <= done < 5
    assert tdn("relax", *names, "--resume").code == 0
    assert [atoms.info["input"] for atoms in read("relaxed.extxyz@:")] == names


@SIGNALS
def test_signal_ends_energies_with_what_there_is(number, start, folder):
    write("all.extxyz", [bulk("Cu", cubic=True) * (7, 7, 7)] * 30)
    process = start("energy", "all.extxyz", "-o", "out.extxyz", seconds=0.1)
    process.stdout.readline()
    process.stdout.readline()
    finish(process, number)
    assert process.returncode == 130
    assert 1 <= len(read("out.extxyz@:")) < 30


def test_second_signal_ends_at_once(start, copper):
    process = start("md", copper, "--steps", "1000", seconds=4.0)
    wait_for(lambda: size("copper-md.checkpoint") > 0)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    finish(process, signal.SIGTERM)
    assert process.returncode == 130
    assert time.monotonic() - began < 1.5


def test_closed_terminal_that_is_told_of_twice_ends_a_run_with_a_checkpoint(start, copper):
    process = start("md", copper, "--steps", "1000", "--interval", "1", seconds=0.3)
    wait_for(lambda: size("copper-md.csv") > 0)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    finish(process, signal.SIGHUP)
    assert process.returncode == 130
    assert '"reason": "stopped"' in Path("copper-md.json").read_text()


def test_run_under_nohup_outlives_its_terminal(start, copper):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("md", copper, "--steps", "20", "--interval", "1", seconds=0.05)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(lambda: size("copper-md.csv") > 0)
    finish(process, signal.SIGHUP)
    assert process.returncode == 0
