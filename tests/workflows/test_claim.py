"""Two runs that would write to the same files at once."""

import dataclasses
import errno
import fcntl

import pytest

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.workflows.claim import claim
from tdncalc.workflows.md import MDFiles, MDSettings, run_md
from tdncalc.workflows.relax import RelaxSettings, relax

MD = MDSettings(steps=20, interval=5, checkpoint_interval=10)


@pytest.fixture
def files(tmp_path):
    return MDFiles(*(tmp_path / f"x.{kind}" for kind in ("traj", "csv", "checkpoint")))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_claim_is_had_by_one_at_a_time(tmp_path):
    path = tmp_path / "x"
    with claim(path), pytest.raises(OutputError, match=r"x: another run is writing to it; wait"):
        claim(path)
    claim(path).close()


def test_claim_is_granted_where_there_are_no_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    claim(tmp_path / "x").close()


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_dynamics_leave_the_files_of_a_run_at_work(how, morse, copper, files, tmp_path):
    copper.calc = morse()
    run_md(copper, settings=MD, files=files)
    before = contents(tmp_path)
    more = dataclasses.replace(MD, steps=40)
    again = dataclasses.replace(files, overwrite=how == "overwrite")
    with claim(files.csv), pytest.raises(OutputError, match="another run"):
        run_md(copper, settings=more, files=again, resume=how == "resume")
    assert contents(tmp_path) == before
    assert run_md(copper, settings=more, files=again, resume=how == "resume").steps == 40


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_relaxation_leaves_the_trajectory_of_a_run_at_work(how, morse, copper, tmp_path):
    copper.calc = morse()
    path = tmp_path / "x.traj"
    relax(copper, settings=RelaxSettings(steps=1, fmax=1e-6), trajectory=path)
    before = contents(tmp_path)
    with claim(path), pytest.raises(OutputError, match="another run"):
        relax(copper, trajectory=path, **{how: True})
    assert contents(tmp_path) == before
    relax(copper, trajectory=path, **{how: True})


def test_refused_relaxation_gives_its_claim_back(morse, copper, tmp_path):
    copper.calc = morse()
    path = tmp_path / "x.traj"
    relax(copper, settings=RelaxSettings(steps=1), trajectory=path)
    try:
        relax(copper, settings=RelaxSettings(optimizer="fire"), trajectory=path, resume=True)
    except CheckpointError:
        relax(copper, trajectory=path, overwrite=True)
    else:
        pytest.fail("not refused")
