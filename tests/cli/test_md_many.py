import json

import numpy as np
import pytest
from ase.io import read

from tdncalc.checkpoint import save_model
from tdncalc.workflows.md import ENSEMBLES


@pytest.fixture
def run(real_tdn, model_folder):
    return lambda *args: real_tdn("md", *args, "--model", model_folder, "--interval", "2")


def test_replicas_have_files_of_their_own_and_are_resumed(run, water, folder, files):
    first = run(water, "--steps", "4", "--replicas", "3")
    assert first.code == 0
    assert first.out == "water.xyz: 3 of 3 replicas done; wrote water-md.json\n"
    assert run(water, "--steps", "8", "--replicas", "3", "--resume").code == 0
    frames = [read(f"water-md-{place}.traj", ":") for place in range(3)]
    assert [len(trajectory) for trajectory in frames] == [5, 5, 5]
    assert len({float(trajectory[-1].positions[0, 0]) for trajectory in frames}) == 3
    runs = json.loads((folder / "water-md.json").read_text())["runs"]
    assert [(one["replica"], one["reason"], one["steps"]) for one in runs] == [
        (place, "done", 8) for place in range(3)
    ]


def test_resumed_replicas_keep_their_names_where_more_come(run, water, folder, files):
    assert run(water, "--steps", "2", "--replicas", "2").code == 0
    assert run(water, "--steps", "4", "--replicas", "11", "--resume").code == 0
    names = {f"water-md-{place}.traj" for place in range(11)}
    assert {name for name in files() if name.endswith(".traj")} == names
    assert all(len(read(folder / name, ":")) == 3 for name in names)


@pytest.fixture
def nudged_folder(make_network, tmp_path):
    """A model that differs from the other in its last bits."""
    network = make_network()
    network.reference_energies += 1e-9
    save_model(tmp_path / "nudged", network, {"name": "nudged"})
    return tmp_path / "nudged"


def test_resume_with_another_model_is_refused_for_each(run, real_tdn, water, nudged_folder, folder):
    run(water, "--steps", "4", "--replicas", "2")
    before = {path: path.read_bytes() for path in folder.glob("water-md-*")}
    asked = ("--steps", "6", "--interval", "2", "--replicas", "2", "--resume")
    outcome = real_tdn("md", water, *asked, "--model", nudged_folder)
    assert outcome.code == 1
    assert outcome.err.count("was made with another model, 'tiny'") == 2
    assert {path: path.read_bytes() for path in folder.glob("water-md-*")} == before


def test_replicas_killed_while_checkpoints_are_renamed_are_resumed(run, water, folder):
    run(water, "--steps", "4", "--replicas", "2")
    for path in folder.glob("*.checkpoint"):
        path.rename(f"{path}.previous")
    assert run(water, "--steps", "8", "--replicas", "2", "--resume").code == 0


def test_refused_resume_keeps_the_summary_and_tells_of_all_replicas(run, water, folder):
    run(water, "--steps", "2", "--replicas", "2")
    before = (folder / "water-md.json").read_bytes()
    outcome = run(water, "--steps", "4", "--replicas", "2", "--resume", "--seed", "7")
    assert outcome.code == 1
    assert outcome.err.count("the checkpoint was made with seed=") == 2
    assert outcome.out == "water.xyz: 0 of 2 replicas done\n"
    assert (folder / "water-md.json").read_bytes() == before


def test_replica_that_fails_counts_as_one_that_is_not_done(run, water, folder):
    run(water, "--steps", "2", "--replicas", "2")
    for path in folder.glob("water-md-1.checkpoint*"):
        path.write_bytes(b"damaged")
    outcome = run(water, "--steps", "4", "--replicas", "2", "--resume")
    assert outcome.code == 1
    assert outcome.out == "water.xyz: 1 of 2 replicas done; wrote water-md.json\n"


def test_replicas_that_fail_at_the_start_leave_no_summary(run, water, files):
    outcome = run(water, "--steps", "2", "--replicas", "2", "--fix", "0-2")
    assert outcome.code == 1
    assert "nothing can move: every atom is fixed" in outcome.err
    assert files() == [water]


def test_replica_that_a_guard_stops_is_told(run, water):
    outcome = run(water, "--steps", "4", "--replicas", "2", "--min-distance", "3")
    assert outcome.code == 4
    assert "0 of 2 replicas done, guard: " in outcome.out


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_replicas_of_a_file_with_velocities_differ_or_are_refused(run, hot, files, ensemble):
    outcome = run(hot, "--steps", "2", "--replicas", "2", "--ensemble", ensemble)
    if outcome.code == 0:
        assert "velocities are those of hot.traj, " in outcome.err
        first, second = (read(f"hot-md-{place}.traj") for place in range(2))
        assert not np.array_equal(first.positions, second.positions)
    else:
        assert outcome.code == 2
        assert f"all would be the same, as hot.traj has velocities and {ensemble}" in outcome.err
        assert "choose nvt-langevin or nvt-bussi, or drop the velocities by" in outcome.err
        assert files() == [hot]


def test_replicas_of_a_file_that_lost_its_velocities_as_advised_differ(run, real_tdn, hot, files):
    advised = "convert hot.traj -o start.xsf"
    asked = ("--steps", "2", "--replicas", "2", "--ensemble", "nve")
    assert f"'tdn {advised}'" in run(hot, *asked).err
    real_tdn(*advised.split())
    assert run("start.xsf", *asked).code == 0
    first, second = (read(f"start-md-{place}.traj") for place in range(2))
    assert not np.array_equal(first.positions, second.positions)


def test_one_output_for_several_replicas_is_refused(run, water):
    assert run(water, "--steps", "1", "--replicas", "2", "-o", "last.xyz").code == 2


def test_a_plot_of_several_replicas_is_refused(run, water, files):
    outcome = run(water, "--steps", "1", "--replicas", "2", "--plot")
    assert outcome.code == 2
    assert "--plot takes one run" in outcome.err
    assert files() == [water]
