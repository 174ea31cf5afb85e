import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from ase.io.trajectory import TrajectoryReader

from tdncalc.errors import OptionError, StructureError
from tdncalc.report import read_runs
from tdncalc.report.displacement import displacement
from tdncalc.report.plots import series, structural


@pytest.mark.parametrize("ending", ["", ".traj", ".csv", ".json", ".checkpoint"])
def test_any_file_of_a_run_finds_all_of_it(ending, dynamics):
    stem = dynamics()
    Path(f"{stem}.json").write_text('{"reason": "done"}')
    Path(f"{stem}.checkpoint").touch()
    (run,) = read_runs([stem + ending])
    assert (run.kind, run.name, len(run.frames)) == ("md", stem, 30)
    assert run.summary["reason"] == "done"
    assert run.columns["time_fs"][-1] == 290


def test_a_name_finds_dynamics_and_relaxation(dynamics):
    dynamics("ethanol")
    shutil.copy("ethanol-md.traj", "ethanol-relax.traj")
    assert [run.kind for run in read_runs(["ethanol"])] == ["md", "relax"]


def test_the_relaxed_structure_finds_its_relaxation(dynamics):
    dynamics("ethanol")
    shutil.move("ethanol-md.traj", "ethanol-relax.traj")
    write("ethanol-relaxed.extxyz", molecule("CH3CH2OH"))
    (run,) = read_runs(["ethanol-relaxed.extxyz"])
    assert (run.kind, len(run.frames)) == ("relax", 30)


def test_a_folder_is_every_run_in_it_and_each_is_read_once(dynamics, structures):
    dynamics("b")
    dynamics("a")
    runs = read_runs([".", "a-md.csv"])
    assert [(run.kind, run.name) for run in runs] == [
        ("md", "a-md"),
        ("md", "b-md"),
        ("many", "relax"),
    ]


@pytest.mark.parametrize("spec", ["x", "x-md", "x-md.json", "."])
def test_replicas_are_runs_with_a_common_summary(spec, dynamics):
    for number in range(3):
        stem = dynamics("x", seed=number)
        for ending in (".traj", ".csv"):
            shutil.move(f"{stem}{ending}", f"{stem}-{number}{ending}")
    told = [{"replica": number, "reason": f"reason {number}"} for number in range(3)]
    Path("x-md.json").write_text(json.dumps({"input": "x.xyz", "runs": told}))
    runs = read_runs([spec])
    assert [Path(run.name).name for run in runs] == ["x-md-0", "x-md-1", "x-md-2"]
    assert [run.summary for run in runs] == [{"input": "x.xyz", **one} for one in told]
    assert len(read_runs(["x-md-1.csv"])) == 1


def test_a_trajectory_elsewhere_is_found_by_the_summary(dynamics):
    dynamics("ethanol")
    Path("deep").mkdir()
    shutil.move("ethanol-md.traj", "deep/all.traj")
    summary = {"files": {"trajectory": "deep/all.traj"}}
    Path("ethanol-relax.json").write_text(json.dumps(summary))
    (run,) = read_runs(["ethanol-relax.json"])
    assert len(run.frames) == 30


def test_a_table_alone_is_shown_with_a_note(dynamics):
    stem = dynamics()
    Path(f"{stem}.traj").unlink()
    (run,) = read_runs([stem])
    assert len(run.columns["potential_eV"]) == 30
    assert "No trajectory" in run.notes[0]


def test_a_row_that_a_kill_cut_short_is_left_out_with_its_frame(dynamics):
    stem = dynamics()
    table = Path(f"{stem}.csv")
    table.write_text(table.read_text()[:-12])
    (run,) = read_runs([stem])
    assert len(run.frames) == len(run.rows) == len(run.columns["step"]) == 29


def test_a_table_without_rows_hides_no_frame(dynamics):
    stem = dynamics()
    table = Path(f"{stem}.csv")
    header, *rows = table.read_text().splitlines()
    table.write_text(header + "\n")
    (run,) = read_runs([stem])
    assert len(run.frames) == len(run.rows) == 30
    table.write_text("\n".join([header, *rows[:10]]) + "\n")
    (run,) = read_runs([stem])
    assert len(run.frames) == 10
    assert "The table ends with row 10" in run.notes[-1]


def test_empty_columns_are_left_out_and_unknown_ones_kept(dynamics):
    stem = dynamics()
    table = Path(f"{stem}.csv")
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},novelty", *(f"{row},0.5" for row in rows)]) + "\n")
    (run,) = read_runs([stem])
    assert "volume_A3" not in run.columns
    assert (run.columns["novelty"] == 0.5).all()


def test_long_trajectories_are_thinned_with_first_and_last_frame(dynamics):
    (run,) = read_runs([dynamics()], max_frames=7)
    assert run.rows == [0, 5, 10, 15, 20, 25, 29]
    assert "7 of 30 frames" in run.notes[0]
    assert len(run.columns["step"]) == 30


@pytest.mark.parametrize(("n_frames", "at_most", "lags"), [(30, 7, 4), (30, 2000, 16), (31, 7, 4)])
def test_displacement_is_told_of_a_trajectory_that_is_thinned(dynamics, n_frames, at_most, lags):
    stem = dynamics(n_frames=n_frames, atoms=bulk("Cu", cubic=True))
    (run,) = read_runs([stem], max_frames=at_most)
    (msd,) = [plot for plot in structural(run, displacement(run)) if plot["key"] == "msd"]
    assert len(msd["x"]["values"]) == lags


def test_displacement_is_told_of_a_run_that_ended_between_two_frames(dynamics):
    stem = dynamics(atoms=bulk("Cu", cubic=True))
    table = Path(f"{stem}.csv")
    *rows, last = table.read_text().splitlines()
    table.write_text("\n".join([*rows, last.replace("580,290,", "563,281.5,")]) + "\n")
    (run,) = read_runs([stem])
    (msd,) = [plot for plot in structural(run, displacement(run)) if plot["key"] == "msd"]
    assert len(msd["x"]["values"]) == 15


def test_a_relaxation_is_measured_from_its_frames(dynamics):
    dynamics("x")
    shutil.move("x-md.traj", "x-relax.traj")
    (run,) = read_runs(["x-relax"])
    frames = read("x-relax.traj", ":")
    largest = [np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames]
    assert run.columns["max_force"] == pytest.approx(largest)
    assert run.columns["potential_eV"][0] == -100.0
    assert next(iter(run.columns)) == "step"


def test_pressure_of_frames_has_the_kinetic_part(folder):
    from ase.calculators.emt import EMT
    from ase.units import GPa

    copper = bulk("Cu", cubic=True)
    copper.calc = EMT()
    copper.set_momenta(np.random.default_rng(1).normal(size=(4, 3)))
    copper.get_stress()
    copper.get_forces()
    write("free.traj", [copper, copper])
    (run,) = read_runs(["free.traj"])
    expected = -copper.get_stress(include_ideal_gas=True)[:3].mean() / GPa
    assert run.columns["pressure_GPa"][0] == pytest.approx(expected)


def test_structures_of_one_file_are_a_table(folder):
    write("all.extxyz", [molecule("H2O"), molecule("CH4")])
    (run,) = read_runs(["all.extxyz"])
    assert run.kind == "many"
    assert [record["n_atoms"] for record in run.records] == [3, 5]


def test_conformers_with_names_are_a_table_and_frames_without_a_trajectory(folder):
    frames = [molecule("H2O") for _ in range(3)]
    write("frames.extxyz", frames)
    for number, atoms in enumerate(frames):
        atoms.info["input"] = f"w{number}"
    write("named.extxyz", frames)
    assert [run.kind for run in read_runs(["frames.extxyz", "named.extxyz"])] == ["frames", "many"]


def test_records_without_structures_are_told_of(structures):
    Path("relaxed.extxyz").unlink()
    (run,) = read_runs(["relax.jsonl"])
    assert len(run.records) == 4
    assert "relaxed.extxyz was not found" in run.notes[0]


@pytest.mark.parametrize("spec", [".", "relax.jsonl", "relaxed.extxyz", "relax.json"])
def test_records_come_with_what_made_them(structures, spec):
    Path("relax.json").write_text('{"command_line": "tdn relax A B", "failed": []}')
    (run,) = read_runs([spec])
    assert len(run.records) == 4
    assert run.summary["command_line"] == "tdn relax A B"


def test_a_record_that_a_kill_cut_short_is_left_out(structures):
    table = Path("relax.jsonl")
    table.write_text(table.read_text()[:-5])
    (run,) = read_runs(["relaxed.extxyz"])
    assert len(run.records) == len(run.frames) == 3
    assert "4 structures and 3 records" in run.notes[0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", "nothing: no run; give a folder"),
        ("empty", "empty: holds no run and no structure file"),
        ("package.json", "not of a run that can be shown"),
        ("bad-md.json", "no readable summary"),
        ("bad.jsonl", "line 1 is no JSON"),
        ("list.jsonl", "line 1 is no JSON object"),
        ("array-relax.json", "a JSON object is expected"),
    ],
)
def test_what_is_no_run_is_refused(spec, message, folder):
    Path("empty").mkdir()
    Path("package.json").write_text("{}")
    Path("bad-md.json").write_text("{")
    Path("bad.jsonl").write_text("x\n")
    Path("list.jsonl").write_text("[]\n")
    Path("array-relax.json").write_text("[]")
    with pytest.raises(StructureError, match=message):
        read_runs([spec])


def test_one_frame_is_too_few(dynamics):
    with pytest.raises(OptionError, match="at least 2"):
        read_runs([dynamics()], max_frames=1)


def test_the_structures_of_a_table_are_those_that_its_summary_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    water, methane = molecule("H2O"), molecule("CH4")
    for name, atoms in (("relaxed", water), ("other", methane)):
        atoms.info["input"] = "x.xyz"
        write(f"{name}.extxyz", atoms)
    record = {"input": "x.xyz", "energy_eV": -1.0, "converged": True, "n_atoms": 5}
    Path("relax.jsonl").write_text(json.dumps(record) + "\n")
    Path("relax.json").write_text(json.dumps({"files": {"structures": "other.extxyz"}}))
    (run,) = read_runs(["."])
    assert run.paths.frames == Path("other.extxyz")


def test_only_the_frames_that_are_shown_are_read(dynamics, monkeypatch):
    read = []
    get = TrajectoryReader.__getitem__

    def note(reader, index):
        read.append(index)
        return get(reader, index)

    stem = dynamics()
    monkeypatch.setattr(TrajectoryReader, "__getitem__", note)
    (run,) = read_runs([stem], max_frames=4)
    assert run.rows == [0, 10, 20, 29]
    assert len(read) <= 5
    assert [float(atoms.get_potential_energy()) for atoms in run.frames] == pytest.approx(
        run.columns["potential_eV"][run.rows], abs=1e-6
    )


def test_trajectory_cut_in_the_middle_is_named(dynamics):
    stem = dynamics()
    with Path(f"{stem}.traj").open("r+b") as file:
        file.truncate(Path(file.name).stat().st_size // 2)
    with pytest.raises(StructureError, match=rf"{stem}.traj: .*truncated or damaged"):
        read_runs([stem])


def cut(path, from_end):
    """Take the last bytes of a file away, and return what is left of it."""
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:-from_end])
    return whole[:-from_end]


@pytest.mark.parametrize("from_end", [1, 3, 90, 700])  # in its last number, line, atoms, comment
@pytest.mark.parametrize("spec", ["relaxed.extxyz", "relax.jsonl", "."])
def test_structures_cut_off_in_the_last_are_shown_without_it(spec, from_end, structures):
    cut("relaxed.extxyz", from_end)
    (run,) = read_runs([spec])
    assert len(run.frames) == len(run.records) == 3
    assert run.warnings == [
        "relaxed.extxyz is cut off in the middle of a structure; the 3 structures before are shown"
    ]
    assert "3 structures and 4 records" in run.notes[0]
    assert [str(atoms.symbols) for atoms in run.frames] == ["OH2", "CH4", "C2OH6"]


def test_whole_structures_are_shown_without_a_warning(structures):
    (run,) = read_runs(["."])
    assert run.warnings == []


def test_records_of_structures_cut_off_in_the_first_are_shown(structures):
    Path("relaxed.extxyz").write_bytes(Path("relaxed.extxyz").read_bytes()[:100])
    (run,) = read_runs(["."])
    assert (len(run.frames), len(run.records)) == (0, 4)
    assert "the 0 structures before are shown" in run.warnings[0]


def test_blank_lines_between_frames_cut_nothing_off(structures):
    lines = Path("relaxed.extxyz").read_text().splitlines(keepends=True)
    behind = 2 + int(lines[0])
    Path("relaxed.extxyz").write_text("".join([*lines[:behind], "\n", *lines[behind:]]))
    (run,) = read_runs(["."])
    assert (len(run.frames), run.warnings) == (4, [])


def test_any_extxyz_that_is_cut_off_is_shown_as_far_as_it_goes(folder):
    write("all.extxyz", [molecule(name) for name in ("H2O", "CH4", "NH3")])
    cut("all.extxyz", 90)
    (run,) = read_runs(["all.extxyz"])
    assert [str(atoms.symbols) for atoms in run.frames] == ["OH2", "CH4"]
    assert "all.extxyz is cut off" in run.warnings[0]


@pytest.mark.parametrize("letter", ["\f", "\x85", "\u2028"])  # ends a line in Python, not here
def test_letters_that_end_no_line_of_a_file_cut_nothing_off(letter, folder):
    write("all.extxyz", [molecule(name) for name in ("H2O", "CH4", "NH3")])
    text = Path("all.extxyz").read_text().replace("pbc=", f'note="a{letter}b" pbc=')
    Path("all.extxyz").write_text(text[:-90])
    (run,) = read_runs(["all.extxyz"])
    assert [str(atoms.symbols) for atoms in run.frames] == ["OH2", "CH4"]


@pytest.mark.parametrize("spec", ["relaxed.extxyz", "x.extxyz"])
def test_what_is_damaged_elsewhere_is_refused(spec, structures):
    shutil.copy("relaxed.extxyz", "x.extxyz")
    lines = Path(spec).read_text().split("\n")
    for damaged in (["x", *lines[1:]], [*lines[:3], "H 0 0", *lines[4:]], [""]):
        Path(spec).write_text("\n".join(damaged))
        with pytest.raises(StructureError, match=rf"^{spec}: (cannot be read|is empty)"):
            read_runs([spec])


GARBAGE = {
    "no number": "{step},{time},3x0,-1.0,1.0,1.0,,,2",
    "too few cells": "\x00\x00\x00",
    "quotes": '"{step},"',
    "no UTF-8": "\udcff\udcfe,",
}


def put_lines(table, lines):
    Path(table).write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("rows", [[0], [5], [5, 6], [0, 1, 28]])
def test_rows_that_do_not_parse_leave_the_others_at_their_frames(rows, garbage, dynamics):
    stem = dynamics()
    lines = Path(f"{stem}.csv").read_text().splitlines()
    for row in rows:
        lines[row + 1] = GARBAGE[garbage].format(step=20 * row, time=10 * row)
    put_lines(f"{stem}.csv", lines)
    (run,) = read_runs([stem])
    assert run.rows == list(range(30))
    assert run.columns["time_fs"].tolist() == [10.0 * k for k in range(30)]
    energies = run.columns["potential_eV"]
    assert np.flatnonzero(np.isnan(energies)).tolist() == rows
    told = [k for k in range(30) if k not in rows]
    in_frames = [run.frames[k].get_potential_energy() for k in told]
    assert energies[told] == pytest.approx(in_frames)
    (warning,) = run.warnings
    assert warning.startswith(f"{stem}.csv: {len(rows)} row")
    assert warning.endswith(
        f"skipped (line{'s' * (len(rows) > 1)} {str([r + 2 for r in rows])[1:-1]})"
    )


@pytest.mark.parametrize("at", [1, 2, 15, 30, 31])
def test_lines_that_stand_for_no_row_shift_nothing(at, dynamics):
    stem = dynamics()
    lines = Path(f"{stem}.csv").read_text().splitlines()
    put_lines(f"{stem}.csv", [*lines[:at], "garbage", "more", *lines[at:]])
    (run,) = read_runs([stem])
    assert run.columns["potential_eV"] == pytest.approx(
        [atoms.get_potential_energy() for atoms in run.frames]
    )
    assert "2 rows cannot be read and are skipped" in run.warnings[0]


def test_a_damaged_row_before_an_end_between_two_frames_has_its_time(dynamics):
    stem = dynamics()
    lines = Path(f"{stem}.csv").read_text().splitlines()
    put_lines(f"{stem}.csv", [*lines[:29], "garbage", lines[30].replace("580,290,", "563,281.5,")])
    (run,) = read_runs([stem])
    assert run.columns["time_fs"][-3:].tolist() == [270, 280, 281.5]
    assert len(run.frames) == 30


def test_text_in_a_column_of_text_is_no_damage(dynamics):
    stem = dynamics()
    header, *rows = Path(f"{stem}.csv").read_text().splitlines()
    put_lines(f"{stem}.csv", [f"{header},remark", *(f"{row},fine" for row in rows)])
    (run,) = read_runs([stem])
    assert run.warnings == []
    assert "remark" not in run.columns
    assert len(run.frames) == 30


def test_a_table_that_is_no_text_is_refused(dynamics):
    stem = dynamics()
    Path(f"{stem}.csv").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(StructureError, match=r"no readable table"):
        read_runs([stem])


def test_a_damaged_row_leaves_a_gap_in_the_plots(dynamics):
    stem = dynamics()
    lines = [line.replace(",,,", ",,9.5,") for line in Path(f"{stem}.csv").read_text().splitlines()]
    put_lines(f"{stem}.csv", [*lines[:6], "garbage", *lines[7:]])
    (run,) = read_runs([stem])
    shown = {line["key"]: line["values"] for line in series(run)["lines"]}
    assert shown["potential_eV"][4:7] == [-100.4, None, -100.6]
    assert "volume_A3" not in shown  # it does not change


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("ending", [".traj", ".extxyz"])
def test_atoms_are_followed_over_the_frames_that_are_not_shown(ending, wrapped, folder):
    """Two atoms that go apart by a third of a cell a frame: between shown ones, by three cells."""
    frames = []
    for k in range(40):
        atoms = Atoms("Ar2", [[1 + 0.5 * k, 1, 1], [3 - 0.5 * k, 2, 2]], cell=[3, 4, 5], pbc=True)
        if wrapped:
            atoms.wrap()
        frames.append(atoms)
    write(f"x-md{ending}", frames)
    put_lines("x-md.csv", ["step,time_fs", *(f"{k},{k}" for k in range(40))])
    Path("x-md.json").write_text(json.dumps({"files": {"trajectory": f"x-md{ending}"}}))
    (run,) = read_runs(["x-md"], max_frames=5)
    assert run.rows == [0, 10, 20, 30, 39]
    assert np.diff(run.unwrapped[:, 0, 0]) == pytest.approx([5, 5, 5, 4.5])
    (msd,) = [plot for plot in structural(run, displacement(run)) if plot["key"] == "msd"]
    assert msd["lines"][0]["values"] == pytest.approx([0, 25, 100])


def test_atoms_are_followed_without_holding_the_frames(folder, monkeypatch):
    cell = np.eye(3) * 30
    rng = np.random.default_rng(1)
    frames = (Atoms("Ar2000", rng.random((2000, 3)) @ cell, cell=cell, pbc=True) for _ in range(60))
    write("x-md.traj", list(frames))
    put_lines("x-md.csv", ["step,time_fs", *(f"{k},{k}" for k in range(60))])
    tracemalloc.start()
    read_runs(["x-md"], max_frames=2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60 * 2000 * 3 * 8  # what the positions of all frames take
