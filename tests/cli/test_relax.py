import json
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.io import read, write

from tdncalc.workflows.traj_file import n_frames


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_structure_gives_structure_trajectory_and_summary(tdn, copper, files):
    outcome = tdn("relax", copper, "--fmax", "0.01")
    assert outcome.code == 0
    assert "converged in" in outcome.out
    names = ["copper-relax.json", "copper-relax.traj", "copper-relaxed.extxyz", copper]
    assert files() == names
    relaxed = read("copper-relaxed.extxyz")
    assert np.linalg.norm(relaxed.get_forces(), axis=1).max() < 0.01
    assert relaxed.get_stress().shape == (6,)


def test_summary_says_all_that_the_result_depends_on(tdn, copper, folder):
    tdn("relax", copper, "--fmax", "0.01", "-q")
    facts = json.loads((folder / "copper-relax.json").read_text())
    assert facts["command_line"] == "tdn relax copper.extxyz --fmax 0.01 -q"
    assert facts["input"] == copper
    assert facts["converged"] is True
    assert facts["settings"]["fmax"] == 0.01
    assert facts["files"]["trajectory"] == "copper-relax.traj"
    assert {"model", "versions", "device", "dtype", "threads", "seconds"} <= set(facts)


def test_json_prints_the_summary(tdn, copper, folder):
    outcome = tdn("relax", copper, "--json")
    assert json.loads(outcome.out) == json.loads((folder / "copper-relax.json").read_text())


def test_not_converging_is_exit_code_3_and_written(tdn, copper, files):
    outcome = tdn("relax", copper, "--fmax", "1e-6", "--steps", "1")
    assert outcome.code == 3
    assert "not converged in 1 step," in outcome.out
    assert "copper-relaxed.extxyz" in files()


def test_output_options_place_the_files(tdn, copper, folder):
    args = ("-o", "out.cif", "--output-dir", "new/deep", "--trajectory", "all.traj")
    assert tdn("relax", copper, *args).code == 0
    assert sorted(path.name for path in (folder / "new/deep").iterdir()) == ["copper-relax.json"]
    assert read("out.cif").get_chemical_formula() == "Cu4"
    assert len(read("all.traj", ":")) > 1


def test_cell_is_relaxed_to_the_pressure(tdn, copper):
    assert tdn("relax", copper, "--cell", "full", "--pressure", "5", "--fmax", "0.001").code == 0
    stress = read("copper-relaxed.extxyz").get_stress(voigt=False) * 160.21766
    assert stress == pytest.approx(-5 * np.eye(3), abs=0.01)


def test_fixed_atoms_stay(tdn, folder):
    slab = fcc111("Cu", (2, 2, 3), vacuum=6)
    slab.info.clear()
    slab.rattle(0.05, seed=2)
    write("slab.extxyz", slab)
    assert tdn("relax", "slab.extxyz", "--fix", "z<7", "--fix", "11", "--steps", "3").code in (0, 3)
    moved = np.linalg.norm(read("slab-relaxed.extxyz").positions - slab.positions, axis=1) > 1e-6
    assert not moved[slab.positions[:, 2] < 7].any()
    assert not moved[11]
    assert moved.any()


def test_overwrite_replaces(tdn, copper):
    assert tdn("relax", copper, "--steps", "1").code == 3
    assert tdn("relax", copper, "--overwrite").code == 0


def test_resume_continues_to_the_same_end(tdn, copper, folder):
    tdn("relax", copper, "--fmax", "0.001", "--output-dir", "straight")
    tdn("relax", copper, "--fmax", "0.001", "--steps", "2")
    assert tdn("relax", copper, "--fmax", "0.001", "--resume").code == 0
    straight, resumed = read("straight/copper-relaxed.extxyz"), read("copper-relaxed.extxyz")
    assert np.array_equal(straight.positions, resumed.positions)


def test_resume_with_another_model_is_refused_and_changes_nothing(tdn, other_model, copper, folder):
    tdn("relax", copper)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    other_model()
    outcome = tdn("relax", copper, "--resume")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "was made with another model, 'emt' (eee" in outcome.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_resume_with_other_fixed_atoms_is_refused_and_changes_nothing(tdn, copper, folder):
    tdn("relax", copper, "--fix", "0", "--steps", "2")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    outcome = tdn("relax", copper, "--steps", "3", "--resume")
    assert outcome.code == 1
    assert outcome.err == (
        "Error: copper-relax.traj was made with other constraints than those given; resume with "
        "the same fixed atoms, or start anew\n"
    )
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_resume_of_nothing_begins(tdn, copper):
    assert tdn("relax", copper, "--resume").code == 0


@pytest.fixture
def several(folder):
    for seed, symbol in enumerate(["Cu", "Ag", "Au"]):
        atoms = bulk(symbol, cubic=True)
        atoms.rattle(0.05, seed=seed)
        write(f"{symbol}.extxyz", atoms)
    return ["Cu.extxyz", "Ag.extxyz", "Au.extxyz"]


def test_several_structures_stream_into_one_file_and_one_table(tdn, several, folder, files):
    assert tdn("relax", *several).code == 0
    assert set(files()) - set(several) == {"relax.json", "relax.jsonl", "relaxed.extxyz"}
    records = lines(folder / "relax.jsonl")
    assert [record["input"] for record in records] == several
    assert all(record["converged"] for record in records)
    frames = read("relaxed.extxyz", ":")
    assert [atoms.get_chemical_formula() for atoms in frames] == ["Cu4", "Ag4", "Au4"]
    assert [atoms.info["input"] for atoms in frames] == several


def test_several_frames_of_one_file_are_several(tdn, folder):
    write("all.extxyz", [bulk("Cu"), bulk("Ag")])
    assert tdn("relax", "all.extxyz").code == 0
    assert len(lines(folder / "relax.jsonl")) == 2


def test_bad_one_of_several_is_named_and_passed_over(tdn, several, folder):
    (folder / "Ag.extxyz").write_text("nonsense")
    outcome = tdn("relax", *several)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "Ag.extxyz" in outcome.err
    assert [r["input"] for r in lines(folder / "relax.jsonl")] == ["Cu.extxyz", "Au.extxyz"]


def test_several_are_summed_up_at_the_end(tdn, several, folder):
    last = tdn("relax", *several).out.splitlines()[-1]
    count = len((folder / "relax.jsonl").read_text().splitlines())
    assert last == (
        f"{count} relaxed, {count} of them converged; wrote relaxed.extxyz and relax.jsonl"
    )


def test_one_of_several_that_does_not_converge_is_exit_code_3(tdn, several, folder):
    assert tdn("relax", *several, "--steps", "0").code == 3
    assert not any(record["converged"] for record in lines(folder / "relax.jsonl"))


def test_resume_remembers_what_did_not_converge(tdn, several):
    tdn("relax", several[0], several[1], "--steps", "0")
    assert tdn("relax", *several, "--resume").code == 3


def cut_in_the_last_line(table, structures):
    table.write_bytes(table.read_bytes()[:-20])


def cut_after_the_structure(table, structures):
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:-1]))


def cut_in_the_structure(table, structures):
    cut_after_the_structure(table, structures)
    structures.write_bytes(structures.read_bytes()[:-50])


@pytest.mark.parametrize(
    "cut", [cut_in_the_last_line, cut_after_the_structure, cut_in_the_structure]
)
def test_resume_after_a_kill_does_the_rest(cut, tdn, several, folder):
    tdn("relax", *several)
    table, structures = folder / "relax.jsonl", folder / "relaxed.extxyz"
    whole = structures.read_bytes()
    kept = table.read_text().splitlines()[:2]
    cut(table, structures)
    outcome = tdn("relax", *several, "--resume")
    assert outcome.code == 0
    *one_each, summary = outcome.out.splitlines()
    assert [line.split(":")[0] for line in one_each] == ["Au.extxyz"]
    assert summary.startswith("3 relaxed, 3 of them converged")
    assert structures.read_bytes() == whole
    assert table.read_text().splitlines()[:2] == kept
    assert len(lines(table)) == 3


def test_resume_with_another_model_is_refused(tdn, several, folder):
    tdn("relax", *several[:2])
    table = folder / "relax.jsonl"
    table.write_text(table.read_text().replace("e" * 64, "f" * 64))
    outcome = tdn("relax", *several, "--resume")
    assert outcome.code == 1
    assert "another model" in outcome.err


def test_resume_with_a_foreign_table_is_refused(tdn, several, folder):
    (folder / "relax.jsonl").write_text('{"a": 1}\n')
    outcome = tdn("relax", *several, "--resume")
    assert outcome.code == 1
    assert "relax.jsonl" in outcome.err


def test_json_of_several_lists_results_and_failures(tdn, several, folder):
    (folder / "Ag.extxyz").write_text("nonsense")
    facts = json.loads(tdn("relax", *several, "--json").out)
    assert [result["input"] for result in facts["results"]] == ["Cu.extxyz", "Au.extxyz"]
    assert len(facts["failed"]) == 1


def test_results_among_the_inputs_are_not_relaxed_again(tdn, several, folder):
    tdn("relax", ".")
    assert tdn("relax", ".", "--resume").code == 0
    assert len(lines(folder / "relax.jsonl")) == 3


def test_input_is_not_overwritten_while_it_is_read(tdn, several, folder):
    write("relaxed.extxyz", bulk("Cu"))
    outcome = tdn("relax", "relaxed.extxyz@0", *several, "--overwrite")
    assert outcome.code == 1
    assert "relaxed.extxyz is an INPUT" in outcome.err
    assert read("relaxed.extxyz").get_chemical_formula() == "Cu"


@pytest.fixture
def near(folder):
    """Hydrogens 0.5 Å apart."""
    write("near.xyz", Atoms("CH2", [[0, 0, 0], [1.0, 0.25, 0], [1.0, -0.25, 0]]))
    return "near.xyz"


@pytest.mark.parametrize("others", [0, 1])
def test_atoms_that_are_moved_apart_are_told_of_by_name_and_recorded(
    tdn, near, copper, folder, others
):
    outcome = tdn("relax", near, *[copper][:others], "--steps", "1", "-q")
    expected = "Warning: near.xyz: 2 atoms lay far too near to others: moved apart first, by up to "
    (told,) = outcome.err.splitlines()
    assert told.startswith(expected)
    if others:
        by_input = {record["input"]: record for record in lines(folder / "relax.jsonl")}
        assert by_input[copper]["moved_apart"] is None
        record = by_input[near]
    else:
        record = json.loads((folder / "near-relax.json").read_text())
    assert record["moved_apart"]["n_atoms"] == 2
    assert f"{record['moved_apart']['largest_A']:.2f} Å" in told


def test_fixed_atoms_that_are_near_are_not_told_to_have_moved(tdn, near, folder):
    outcome = tdn("relax", near, "--fix", "H", "--steps", "1", "-q")
    assert outcome.err == ""
    assert json.loads((folder / "near-relax.json").read_text())["moved_apart"] is None


def test_plot_is_drawn_at_the_end_or_later(tdn, copper, files):
    assert tdn("relax", copper, "--plot").code == 0
    assert "copper-relax.png" in files()
    assert tdn("relax", copper, "--output-dir", "later").code == 0
    assert tdn("relax", copper, "--output-dir", "later", "--resume", "--plot").code == 0
    assert tdn("relax", copper, "--plot").code == 1


def test_old_plot_goes_with_the_run_that_it_shows(tdn, copper, files):
    assert tdn("relax", copper, "--plot").code == 0
    assert tdn("relax", copper, "--resume").code == 0
    assert "copper-relax.png" in files()
    assert tdn("relax", copper, "--overwrite").code == 0
    assert "copper-relax.png" not in files()


def test_plot_of_several_is_a_usage_error(tdn, several, files):
    assert tdn("relax", *several, "--plot").code == 2
    assert files() == sorted(several)


def test_killed_relaxation_goes_on_to_the_same_end(start, tdn, copper, folder):
    asked = ("relax", copper, "--fmax", "1e-4", "--cell", "full")
    tdn(*asked, "--output-dir", "straight")
    process = start(*asked, seconds=0.05)
    end = time.monotonic() + 60
    trajectory = folder / "copper-relax.traj"
    while n_frames(trajectory) < 4:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (folder / "copper-relaxed.extxyz").exists()
    assert tdn(*asked, "--resume").code == 0
    assert trajectory.read_bytes() == (folder / "straight/copper-relax.traj").read_bytes()


def test_an_output_folder_that_cannot_be_made_is_told(tdn, folder, monkeypatch):
    write("cu.extxyz", bulk("Cu"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    outcome = tdn("relax", "cu.extxyz", "--output-dir", "new")
    assert outcome.code == 1
    assert "Error: new: cannot be made (Permission denied); choose --output-dir" in outcome.err
