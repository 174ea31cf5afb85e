import dataclasses
import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.constraints import FixAtoms, FixBondLengths

from tdncalc.errors import CheckpointError
from tdncalc.workflows import md_checkpoint
from tdncalc.workflows.md import ENSEMBLES, MDFiles, MDSettings, Ramp, run_md
from tdncalc.workflows.md_files import RunFiles

SETTINGS = MDSettings(
    steps=60,
    timestep_fs=2.0,
    interval=7,
    checkpoint_interval=10,
    thermostat_time_fs=40.0,
    barostat_time_fs=200.0,
)


@pytest.fixture
def named(tmp_path):
    def paths(name):
        return MDFiles(*(tmp_path / f"{name}.{kind}" for kind in ("traj", "csv", "checkpoint")))

    return paths


def stop_after(steps):
    asked = []
    return lambda: asked.append(1) or len(asked) > steps


def assert_same(a, b):
    assert a.trajectory.read_bytes() == b.trajectory.read_bytes()
    assert a.csv.read_bytes() == b.csv.read_bytes()


HEATED = {"temperature_K": Ramp(200.0, 400.0)}
CASES = [
    *((ensemble, "copper", {}) for ensemble in ENSEMBLES),
    *((e, start, {}) for e in ENSEMBLES[:4] for start in ("cluster", "fixed", "bonded")),
    *(("npt-mtk", "skewed", {"cell": cell}) for cell in ("isotropic", "full")),
    ("npt-mtk", "copper", {"cell": "anisotropic"}),
    *((ensemble, "cluster", HEATED) for ensemble in ENSEMBLES[1:4]),
    ("npt-berendsen", "copper", HEATED | {"pressure_GPa": Ramp(0.0, 5.0)}),
    ("npt-mtk", "skewed", HEATED | {"pressure_GPa": Ramp(0.0, 5.0), "cell": "full"}),
]


@pytest.mark.parametrize(("ensemble", "start", "more"), CASES)
def test_resumed_run_is_the_uninterrupted_one_bit_by_bit(
    morse, named, request, ensemble, start, more
):
    atoms = request.getfixturevalue({"fixed": "copper", "bonded": "cluster"}.get(start, start))
    if start == "fixed":
        atoms.set_constraint(FixAtoms([0]))
    if start == "bonded":
        atoms.set_constraint(FixBondLengths([(0, 2), (1, 3)]))
    settings = dataclasses.replace(SETTINGS, ensemble=ensemble, **more)
    whole, parts = named("whole"), named("parts")
    expected = run_md(atoms, calculator=morse(), settings=settings, files=whole)
    # Stopped in between, then gone on and killed: the files have frames that the checkpoint lacks.
    run_md(atoms, calculator=morse(), settings=settings, files=parts, stop=stop_after(23))
    checkpoint = parts.checkpoint.read_bytes()
    longer = dataclasses.replace(settings, checkpoint_interval=1000)
    stop = stop_after(25)
    run_md(atoms, calculator=morse(), settings=longer, files=parts, resume=True, stop=stop)
    parts.checkpoint.write_bytes(checkpoint)
    with parts.trajectory.open("ab") as file:
        file.write(b"half a frame")
    with parts.csv.open("a") as file:
        file.write("49,9")
    result = run_md(atoms, calculator=morse(), settings=settings, files=parts, resume=True)
    assert_same(parts, whole)
    np.testing.assert_array_equal(result.atoms.positions, expected.atoms.positions)
    np.testing.assert_array_equal(result.atoms.get_momenta(), expected.atoms.get_momenta())
    np.testing.assert_array_equal(result.atoms.cell.array, expected.atoms.cell.array)
    assert result.temperature_K == expected.temperature_K
    assert result.drift_meV_per_atom_per_ps == expected.drift_meV_per_atom_per_ps
    assert parts.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    morse, copper, named, caplog, damage
):
    whole, parts = named("whole"), named("parts")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=whole)
    run_md(copper, calculator=morse(), settings=SETTINGS, files=parts, stop=stop_after(33))
    spoil(parts.checkpoint, damage)
    with caplog.at_level(logging.WARNING):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=parts, resume=True)
    assert_same(parts, whole)
    assert "parts.checkpoint is " + ("missing" if damage == "missing" else "damaged") in caplog.text
    assert "resuming from" in caplog.text
    assert "step 30" in caplog.text


def spoil(path, damage):
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]
        path.write_bytes({"cut": data[:-7], "flipped": flipped, "empty": b""}[damage])


def test_two_damaged_checkpoints_are_refused(morse, copper, named):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    for path in (files.checkpoint, md_checkpoint.previous(files.checkpoint)):
        spoil(path, "cut")
    before = files.trajectory.read_bytes()
    with pytest.raises(CheckpointError, match=r"is damaged .*previous is damaged .*start anew"):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)
    assert files.trajectory.read_bytes() == before


def test_resume_of_a_run_without_files_begins(morse, copper, named):
    result = run_md(copper, calculator=morse(), settings=SETTINGS, files=named("x"), resume=True)
    assert (result.reason, result.steps) == ("done", 60)


def test_run_killed_before_its_first_frame_is_resumed(morse, copper, named, monkeypatch):
    whole, parts = named("whole"), named("parts")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=whole)
    with monkeypatch.context() as patch:
        patch.setattr(RunFiles, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_md(copper, calculator=morse(), settings=SETTINGS, files=parts)
    run_md(copper, calculator=morse(), settings=SETTINGS, files=parts, resume=True)
    assert_same(parts, whole)


def test_trajectory_without_a_checkpoint_is_refused(morse, copper, named):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    files.checkpoint.unlink()
    md_checkpoint.previous(files.checkpoint).unlink()
    with pytest.raises(CheckpointError, match=r"x\.checkpoint is missing"):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)


def test_finished_run_can_be_made_longer(morse, copper, named):
    whole, parts = named("whole"), named("parts")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=whole)
    run_md(
        copper, calculator=morse(), settings=dataclasses.replace(SETTINGS, steps=31), files=parts
    )
    run_md(copper, calculator=morse(), settings=SETTINGS, files=parts, resume=True)
    assert_same(parts, whole)


def test_finished_run_stays_as_it_is(morse, copper, named):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    before = files.trajectory.read_bytes(), files.csv.read_bytes()
    again = run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)
    assert (again.reason, again.steps) == ("done", 60)
    assert (files.trajectory.read_bytes(), files.csv.read_bytes()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature_K": 400.0}, "temperature_K=300.0, not 400.0"),
        ({"ensemble": "nvt-bussi"}, "ensemble='nvt-langevin', not 'nvt-bussi'"),
        ({"seed": 3}, "seed=0, not 3"),
        ({"interval": 3}, "interval=7, not 3"),
        ({"temperature_K": Ramp(300, 400)}, "temperature_K=300.0, not '300.0:400.0'"),
    ],
)
def test_other_settings_are_refused_by_name(morse, copper, named, change, message):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    other = dataclasses.replace(SETTINGS, **change)
    with pytest.raises(CheckpointError, match=message):
        run_md(copper, calculator=morse(), settings=other, files=files, resume=True)


def test_length_of_a_ramp_cannot_change(morse, copper, named):
    files = named("x")
    settings = dataclasses.replace(SETTINGS, **HEATED)
    run_md(copper, calculator=morse(), settings=settings, files=files, stop=stop_after(12))
    longer = dataclasses.replace(settings, steps=90)
    with pytest.raises(CheckpointError, match="made with steps=60, not 90"):
        run_md(copper, calculator=morse(), settings=longer, files=files, resume=True)


def changed(atoms, what):
    if what == "positions":
        atoms.positions[0, 0] += 1e-3
    elif what == "numbers":
        atoms.numbers[0] = 47
    elif what == "cell and pbc":
        atoms.pbc[0] = False
    elif what == "velocities":
        atoms.set_momenta(np.ones((4, 3)))
    else:
        atoms.set_constraint(FixAtoms([0]))
    return atoms


@pytest.mark.parametrize(
    "what", ["positions", "numbers", "cell and pbc", "velocities", "constraints"]
)
def test_another_structure_is_refused_by_name(morse, copper, named, what):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    other = changed(copper.copy(), what)
    with pytest.raises(CheckpointError, match=f"its .*{what} differ"):
        run_md(other, calculator=morse(), settings=SETTINGS, files=files, resume=True)


def test_other_lengths_of_fixed_bonds_are_refused(morse, copper, named):
    files = named("x")
    copper.set_constraint(FixBondLengths([(0, 1)], bondlengths=[2.5]))
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files, stop=stop_after(12))
    copper.set_constraint(FixBondLengths([(0, 1)], bondlengths=[2.6]))
    with pytest.raises(CheckpointError, match="its constraints differ"):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)


def test_another_model_is_refused_and_nothing_cut(morse, copper, named):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files, stop=stop_after(12))
    before = files.trajectory.read_bytes()
    with pytest.raises(CheckpointError, match="resume with the same model"):
        run_md(copper, calculator=morse(scale=1.1), settings=SETTINGS, files=files, resume=True)
    assert files.trajectory.read_bytes() == before


def with_model(calculator, sha256):
    calculator.model_identity = {"name": "copper", "sha256": sha256}
    return calculator


@pytest.mark.parametrize("steps", [60, 80])  # a finished run, and one to be made longer
def test_model_of_another_sha256_is_refused_though_it_gives_the_same_energy(
    morse, copper, named, tmp_path, steps
):
    files = named("x")
    run_md(copper, calculator=with_model(morse(), "a" * 64), settings=SETTINGS, files=files)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other, longer = with_model(morse(), "b" * 64), dataclasses.replace(SETTINGS, steps=steps)
    with pytest.raises(CheckpointError, match=r"another model, 'copper' \(a{12}….*not.*\(b{12}…"):
        run_md(copper, calculator=other, settings=longer, files=files, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("known", ["before", "after"])
def test_run_of_a_calculator_that_does_not_say_its_model_goes_on(morse, copper, named, known):
    files, (first, second) = named("x"), (morse(), morse())
    with_model(first if known == "before" else second, "a" * 64)
    run_md(copper, calculator=first, settings=SETTINGS, files=files, stop=stop_after(12))
    result = run_md(copper, calculator=second, settings=SETTINGS, files=files, resume=True)
    assert (result.reason, result.steps) == ("done", 60)


def as_written_before_it_held_the_model(data):
    with np.load(io.BytesIO(data.partition(b"\n")[2])) as archive:
        fields = dict(archive)
    rest = json.loads(str(fields.pop("rest")))
    del rest["model"]
    archive = io.BytesIO()
    np.savez(archive, rest=np.array(json.dumps(rest)), **fields)
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    return b"tdncalc-md-checkpoint 1 " + digest.encode() + b"\n" + archive.getvalue()


def test_checkpoint_of_an_older_version_goes_on(morse, copper, named):
    files, calculator = named("x"), with_model(morse(), "a" * 64)
    run_md(copper, calculator=calculator, settings=SETTINGS, files=files, stop=stop_after(12))
    data = as_written_before_it_held_the_model(files.checkpoint.read_bytes())
    files.checkpoint.write_bytes(data)
    other = with_model(morse(), "b" * 64)
    result = run_md(copper, calculator=other, settings=SETTINGS, files=files, resume=True)
    assert (result.reason, result.steps) == ("done", 60)


def test_another_rounding_goes_on_and_says_so(morse, copper, named, caplog):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files, stop=stop_after(12))
    with caplog.at_level(logging.WARNING):
        run_md(
            copper, calculator=morse(scale=1 + 1e-9), settings=SETTINGS, files=files, resume=True
        )
    assert "but not bit by bit" in caplog.text


def test_shortened_trajectory_is_refused(morse, copper, named):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files)
    files.trajectory.unlink()
    with pytest.raises(CheckpointError, match="has 0 frames where the checkpoint counts 9"):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)


def test_failed_checkpoint_leaves_the_one_before(morse, copper, named, monkeypatch):
    files = named("x")
    run_md(copper, calculator=morse(), settings=SETTINGS, files=files, stop=stop_after(12))
    before = files.checkpoint.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*then resume"):
        run_md(copper, calculator=morse(), settings=SETTINGS, files=files, resume=True)
    assert files.checkpoint.read_bytes() == before
    assert not files.checkpoint.with_name("x.checkpoint.new").exists()


RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from ase.io import read
from conftest import MorseLattice
from tdncalc.workflows.md import MDFiles, MDSettings, run_md
files = MDFiles(*(Path(f"{stem}.{{kind}}") for kind in ("traj", "csv", "checkpoint")))
settings = MDSettings(**{settings!r})
print("go", flush=True)
start = read("{stem}.start.traj")
run_md(start, calculator=MorseLattice(), settings=settings, files=files, resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [*ENSEMBLES, "npt-mtk full"])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(morse, copper, named, tmp_path, ensemble):
    ensemble, *full = ensemble.split()
    options = {"steps": 300, "ensemble": ensemble, "interval": 2, "checkpoint_interval": 5}
    options |= {"cell": "full"} if full else {}
    settings = MDSettings(**options)
    whole, parts, stem = named("whole"), named("parts"), tmp_path / "parts"
    copper.write(f"{stem}.start.traj")
    script = RUNNER.format(here=os.path.dirname(__file__), stem=stem, settings=options)
    delay = np.random.default_rng(list(ensemble.encode())).uniform(0, 0.3)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as run:
        run.stdout.readline()
        time.sleep(delay)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    run_md(copper, calculator=morse(), settings=settings, files=parts, resume=True)
    run_md(copper, calculator=morse(), settings=settings, files=whole)
    assert_same(parts, whole)
