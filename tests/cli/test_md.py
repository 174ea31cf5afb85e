import csv
import json

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.io import read, write

FILES = {"copper-md.checkpoint", "copper-md.csv", "copper-md.json", "copper-md.traj"}


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_run_writes_trajectory_table_checkpoint_and_summary(tdn, copper, files):
    outcome = tdn("md", copper, "--steps", "10", "--interval", "5")
    assert outcome.code == 0
    assert "done, 10 steps (0.005 ps)" in outcome.out
    assert set(files()) >= FILES
    assert len(read("copper-md.traj", ":")) == 3
    assert [row["step"] for row in rows("copper-md.csv")] == ["0", "5", "10"]


def test_summary_says_all_that_the_result_depends_on(tdn, copper, folder):
    outcome = tdn("md", copper, "--steps", "3", "--seed", "7", "--json")
    facts = json.loads(outcome.out)
    assert facts == json.loads((folder / "copper-md.json").read_text())
    assert (facts["reason"], facts["steps"], facts["settings"]["seed"]) == ("done", 3, 7)
    assert {"input", "model", "versions", "device", "dtype", "threads", "seconds"} <= set(facts)


@pytest.mark.parametrize(("typed", "steps"), [("10 fs", 5), ("0.004ps", 2), (" .000006 ns ", 3)])
def test_length_is_a_time_with_a_unit(typed, steps, tdn, copper):
    outcome = tdn("md", copper, "--time", typed, "--timestep", "2", "--json")
    assert json.loads(outcome.out)["steps"] == steps


@pytest.mark.parametrize("ensemble", ["nve", "nvt-langevin", "npt-berendsen"])
def test_ensembles_run(ensemble, tdn, copper):
    assert tdn("md", copper, "--steps", "2", "--ensemble", ensemble).code == 0


def test_fixed_atoms_stay_and_are_those_of_a_resumed_run(tdn, folder):
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    slab.info.clear()
    write("slab.extxyz", slab)
    low = slab.positions[:, 2] < 7.0  # the lowest of three layers
    fixed = ("--fix", "z<7", "--interval", "4")
    assert tdn("md", "slab.extxyz", "--steps", "4", *fixed).code == 0
    assert tdn("md", "slab.extxyz", "--steps", "8", "--resume", *fixed).code == 0
    moved = np.abs(read("slab-md.traj@-1").positions - slab.positions).max(axis=1)
    assert moved[low].max() < 1e-6  # what the file rounds off
    assert moved[~low].min() > 1e-4
    outcome = tdn("md", "slab.extxyz", "--steps", "4", "--fix", "Pt", "--overwrite")
    assert outcome.code == 2
    assert "fix 'Pt': no atom of the structure" in outcome.err


@pytest.mark.parametrize("ensemble", ["nve", "nvt-langevin"])
def test_velocities_of_the_file_are_told_with_the_temperature_of_the_first_row(tdn, hot, ensemble):
    asked = ("md", hot, "--steps", "1", "--interval", "1", "--ensemble", ensemble)
    outcome = tdn(*asked, "--temperature", "300")
    kelvin = float(rows("hot-md.csv")[0]["temperature_K"])
    told = f"velocities are those of hot.traj, {kelvin:.0f} K"
    assert kelvin > 500
    assert outcome.err.splitlines()[0] == told
    assert told not in tdn(*asked, "--overwrite", "--quiet").err
    assert told not in tdn(*asked, "--resume").err


def test_velocities_that_are_drawn_are_not_told(tdn, copper):
    assert "velocities" not in tdn("md", copper, "--steps", "1").err


def test_velocities_that_are_a_mere_drift_are_drawn_and_not_told(tdn, folder):
    atoms = bulk("Cu", cubic=True)
    atoms.set_velocities(np.full((4, 3), 0.1))
    write("drift.traj", atoms)
    assert "velocities" not in tdn("md", "drift.traj", "--steps", "1").err


def test_a_finished_run_keeps_its_summary_when_it_is_resumed(tdn, copper, folder):
    tdn("md", copper, "--steps", "4")
    before = (folder / "copper-md.json").read_bytes()
    outcome = tdn("md", copper, "--steps", "4", "--resume")
    assert "already done" in outcome.out
    assert (folder / "copper-md.json").read_bytes() == before


def test_guard_is_exit_code_4(tdn, copper, files):
    outcome = tdn("md", copper, "--steps", "10", "--max-force", "0.001")
    assert outcome.code == 4
    assert "guard: the force" in outcome.out
    assert set(files()) >= FILES


def test_output_is_the_last_structure(tdn, copper):
    tdn("md", copper, "--steps", "4", "--interval", "4", "-o", "last.extxyz")
    last = read("copper-md.traj@-1")
    assert read("last.extxyz").get_velocities() == pytest.approx(last.get_velocities(), abs=1e-6)


def test_resume_continues_to_the_same_end(tdn, copper):
    length = ("--checkpoint-interval", "5")
    tdn("md", copper, "--steps", "20", "--output-dir", "straight", *length)
    tdn("md", copper, "--steps", "10", *length)
    outcome = tdn("md", copper, "--steps", "20", "--resume", *length)
    assert outcome.code == 0
    straight, resumed = read("straight/copper-md.traj@-1"), read("copper-md.traj@-1")
    assert np.array_equal(straight.positions, resumed.positions)
    assert rows("straight/copper-md.csv") == rows("copper-md.csv")


def test_resume_with_other_physics_is_refused(tdn, copper):
    tdn("md", copper, "--steps", "2")
    outcome = tdn("md", copper, "--steps", "4", "--resume", "--temperature", "400")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1


def test_resume_with_another_model_is_refused_and_changes_nothing(tdn, other_model, copper, folder):
    tdn("md", copper, "--steps", "4")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    other_model()
    outcome = tdn("md", copper, "--steps", "4", "--resume")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "was made with another model, 'emt' (eee" in outcome.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_run_killed_while_its_checkpoint_is_renamed_is_resumed(tdn, copper, folder, caplog):
    tdn("md", copper, "--steps", "4")
    (folder / "copper-md.checkpoint").rename(folder / "copper-md.checkpoint.previous")
    outcome = tdn("md", copper, "--steps", "6", "--resume")
    assert outcome.code == 0
    assert [record.message for record in caplog.records] == [
        "copper-md.checkpoint is missing: resuming from copper-md.checkpoint.previous, step 4"
    ]


def test_finished_run_says_that_it_is_done(tdn, copper):
    tdn("md", copper, "--steps", "4")
    outcome = tdn("md", copper, "--steps", "4", "--resume")
    assert outcome.code == 0
    assert "already done, 4 steps" in outcome.out
    assert "ns/day" not in outcome.out


def test_wall_time_ends_a_run_like_an_interruption(tdn, copper, folder):
    outcome = tdn("md", copper, "--time", "1 ns", "--wall-time", "1.2 s", "--interval", "1")
    assert outcome.code == 130
    assert "stopped by --wall-time 1.2 s" in outcome.out
    assert "go on with --resume" in outcome.out
    assert json.loads((folder / "copper-md.json").read_text())["stopped_by"] == "--wall-time 1.2 s"
    steps = len(rows("copper-md.csv"))
    assert tdn("md", copper, "--steps", str(steps), "--interval", "1", "--resume").code == 0
    assert len(rows("copper-md.csv")) == steps + 1


def test_targets_can_move(tdn, copper):
    ramps = ("--temperature", "300:400", "--pressure", "0:5", "--cell", "full")
    outcome = tdn("md", copper, "--steps", "2", "--ensemble", "npt-mtk", *ramps, "--json")
    settings = json.loads(outcome.out)["settings"]
    assert settings["temperature_K"] == {"start": 300.0, "end": 400.0}
    assert settings["pressure_GPa"] == {"start": 0.0, "end": 5.0}
    longer = tdn("md", copper, "--steps", "4", "--ensemble", "npt-mtk", *ramps, "--resume")
    assert longer.code == 1
    assert "made with steps=2, not 4" in longer.err


def test_overwrite_starts_anew(tdn, copper):
    tdn("md", copper, "--steps", "40")
    assert tdn("md", copper, "--steps", "20", "--overwrite").code == 0
    assert [row["step"] for row in rows("copper-md.csv")] == ["0", "20"]


def test_several_structures_are_refused_with_a_hint(tdn, copper, files):
    atoms = read(copper)
    write("all.extxyz", [atoms, atoms])
    outcome = tdn("md", "all.extxyz", "--steps", "1")
    assert outcome.code == 1
    assert "all.extxyz@-1" in outcome.err
    assert files() == ["all.extxyz", copper]
    assert tdn("md", "all.extxyz@1", "--steps", "1").code == 0


def test_old_plot_goes_with_the_run_that_it_shows(tdn, copper, files):
    steps = ("md", copper, "--steps", "4", "--interval", "2")
    assert tdn(*steps, "--plot").code == 0
    assert tdn(*steps, "--overwrite").code == 0
    assert "copper-md.png" not in files()


def test_plot_is_drawn_and_of_a_finished_run_too(tdn, copper, files):
    assert tdn("md", copper, "--steps", "4", "--interval", "2", "--plot").code == 0
    assert "copper-md.png" in files()
    assert tdn("md", copper, "--steps", "4", "--interval", "2", "--plot", "--resume").code == 0


def test_guard_at_the_start_is_told_though_there_is_nothing_to_plot(tdn, copper, files):
    outcome = tdn("md", copper, "--steps", "4", "--max-force", "1e-4", "--plot")
    assert outcome.code == 4
    assert "guard: the force" in outcome.out
    assert "copper-md.png" not in files()


def test_run_that_was_killed_before_its_summary_gets_one(tdn, copper, folder):
    assert tdn("md", copper, "--steps", "4").code == 0
    summary = folder / "copper-md.json"
    known = json.loads(summary.read_text())
    for left in (json.dumps(known | {"reason": "stopped", "steps": 2}), "{", "[]"):
        summary.write_text(left)
        assert "already done" in tdn("md", copper, "--steps", "4", "--resume").out
        ended = json.loads(summary.read_text())
        assert (ended["reason"], ended["steps"]) == ("done", 4)
