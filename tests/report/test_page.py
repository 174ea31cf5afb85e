import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import tdncalc
from tdncalc.errors import StructureError
from tdncalc.report import build_page, read_runs
from tdncalc.report.page import short_names, vendored

LIQUID = Path(__file__).parents[2] / "examples/water.extxyz"
HOSTILE = "</script><b>"


def page_of(*specs):
    return build_page(read_runs(specs), created="today")


def test_positions_of_the_page_are_those_of_the_run(dynamics, unpacking):
    stem = dynamics()
    data, array = unpacking.data_of(page_of(stem))
    scene = data["runs"][0]["trajectory"]
    expected = [atoms.positions for atoms in read(f"{stem}.traj", ":")]
    assert array(scene["positions"]) == pytest.approx(np.array(expected), abs=1e-4)
    assert [c["title"] for c in scene["colorings"]] == ["Force"]


def test_a_force_without_bounds_hides_no_run(folder, unpacking):
    frames = []
    for force in (1.0, 1e9, np.nan):
        atoms = molecule("H2O")
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.full((3, 3), force))
        frames.append(atoms)
    write("hot.traj", frames)
    data, array = unpacking.data_of(page_of("hot.traj"))
    (coloring,) = data["runs"][0]["trajectory"]["colorings"]
    sizes = array(coloring["values"])
    assert sizes[0] == pytest.approx(np.sqrt(3), abs=1e-3)
    assert sizes[1].min() == 1000.0
    assert not sizes[2].any()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.nan, r"^lost.extxyz@1: the position of H \(atom 2\) is NaN"),
        (1e9, r"^lost.extxyz: positions are not finite or lie too far"),
    ],
)
@pytest.mark.parametrize("other", ["H2O", "CH4"], ids=["frames", "structures"])
def test_what_cannot_be_shown_is_named(other, x, message, folder):
    lost = molecule("H2O")
    lost.positions[2, 0] = x
    write("good.extxyz", [molecule("H2O"), molecule("H2O")])
    write("lost.extxyz", [molecule(other), lost])
    with pytest.raises(StructureError, match=message):
        page_of("good.extxyz", "lost.extxyz")


def test_runs_are_named_by_what_tells_them_apart(dynamics, folder):
    Path("one").mkdir()
    Path("two").mkdir()
    runs = read_runs([dynamics("one/x"), dynamics("two/x"), dynamics("two/y")])
    assert short_names(runs) == ["one/x-md", "two/x-md", "two/y-md"]
    assert short_names(runs[1:]) == ["x-md", "y-md"]


def test_many_structures_are_named_by_their_folder(structures):
    assert short_names(read_runs(["relax.jsonl"])) == [structures.name]


def test_hostile_names_stay_text(structures, unpacking):
    table = Path("relax.jsonl")
    table.write_text(table.read_text().replace("CH4.xyz", HOSTILE.replace("/", "\\/")))
    Path(f"{HOSTILE.replace('/', '')}").mkdir()
    page = page_of("relax.jsonl")
    data, _ = unpacking.data_of(page)
    assert HOSTILE in data["runs"][0]["table"]["columns"][0]["values"]
    assert "<b>" not in page
    assert page.count("</script>") == 3


def test_a_hostile_title_is_escaped(folder):
    name = "<script>alert(1)<b>"
    write(f"{name}.extxyz", molecule("H2O"))
    page = page_of(f"{name}.extxyz")
    assert "<title>&lt;script&gt;alert(1)&lt;b&gt;</title>" in page


def test_the_page_forbids_every_request():
    page = (files("tdncalc.report") / "assets" / "page.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"\bsrc=|<link[^>]*https?:|@import|url\(", page)


def test_own_scripts_request_nothing_and_parse_no_html():
    for path in (files("tdncalc.report") / "assets" / "js").iterdir():
        text = path.read_text()
        assert not re.findall(
            r"fetch\(|XMLHttp|innerHTML|insertAdjacent|document\.write|eval\(", text
        )
        assert not re.findall(r"https?://(?!www\.w3\.org)", text)


def test_the_viewer_is_the_one_that_was_published():
    viewer = vendored("3Dmol")
    data = (files("tdncalc.report") / "assets" / "vendor" / "3Dmol-min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == viewer["sha256"]
    assert viewer["source"].endswith(f"3dmol-{viewer['version']}.tgz")
    assert "BSD-3-Clause" in viewer["text"]


def test_thousand_frames_of_fifty_atoms_stay_under_two_megabytes(folder):
    rng = np.random.default_rng(1)
    places = np.cumsum(rng.normal(scale=0.03, size=(1000, 50, 3)), axis=0) + rng.random((50, 3)) * 9
    frames = [Atoms("C50", positions=p) for p in places]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=rng.normal(size=(50, 3)))
    write("c-md.traj", frames)
    assert len(page_of("c-md").encode()) < 2e6  # the floor is 5 MB


def test_novelty_of_a_trajectory_colors_atoms(folder, unpacking):
    frames = [molecule("H2O") for _ in range(3)]
    for k, atoms in enumerate(frames):
        atoms.arrays["novelties"] = np.array([0.1, 0.2, 0.3]) * k
        atoms.info["novelty"] = 0.3 * k
    write("x.xyz", frames)
    data, array = unpacking.data_of(page_of("x.xyz"))
    (coloring,) = data["runs"][0]["trajectory"]["colorings"]
    assert coloring["title"] == "Novelty"
    assert array(coloring["values"])[2] == pytest.approx([0.2, 0.4, 0.6])
    lines = {line["key"]: line for line in data["runs"][0]["series"]["lines"]}
    assert lines["novelty"]["values"] == pytest.approx([0.0, 0.3, 0.6])


def test_plots_have_titles_units_and_no_constant_volume(dynamics, unpacking):
    atoms = molecule("CH3CH2OH", cell=[8, 8, 8], pbc=True)
    stem = dynamics(atoms=atoms)
    table = Path(f"{stem}.csv")
    table.write_text(table.read_text().replace(",,,", ",0.1,512.0,"))
    data, _ = unpacking.data_of(page_of(stem))
    run = data["runs"][0]
    titles = {line["title"]: line["unit"] for line in run["series"]["lines"]}
    assert titles == {
        "Potential energy": "eV",
        "Largest force": "eV/Å",
        "Temperature": "K",
        "Total energy": "eV",
        "Pressure": "GPa",
    }
    assert [plot["key"] for plot in run["plots"]] == ["rdf", "msd", "rmsd"]


def test_bonds_of_hydrogen_do_not_dwarf_the_liquid(dynamics, unpacking):
    def distances(atoms, stem):
        data, _ = unpacking.data_of(page_of(dynamics(stem, n_frames=3, atoms=atoms)))
        return data["runs"][0]["plots"][0]

    liquid = distances(read(LIQUID), "water")
    assert 1.5 < liquid["y"]["top"] < 6
    assert "Bonds of hydrogen reach" in liquid["note"]
    assert max(max(line["values"]) for line in liquid["lines"]) > 3 * liquid["y"]["top"]
    assert distances(bulk("Cu", cubic=True), "copper")["y"]["top"] is None


def test_dynamics_over_picoseconds_are_plotted_in_picoseconds(dynamics, unpacking):
    stem = dynamics(n_frames=3)
    table = Path(f"{stem}.csv")
    table.write_text(table.read_text().replace("\n40,20,", "\n40,8000,"))
    data, _ = unpacking.data_of(page_of(stem))
    assert data["runs"][0]["series"]["x"]["unit"] == "ps"
    assert data["runs"][0]["series"]["x"]["values"][-1] == 8.0


def test_the_card_is_shown_only_of_the_same_weights(dynamics, unpacking):
    stem = dynamics()
    card = tdncalc.read_card("organic")
    for sha256, known in ((card["sha256"], True), ("0" * 64, False)):
        model = {"name": "organic", "sha256": sha256}
        Path(f"{stem}.json").write_text(json.dumps({"model": model, "command_line": "tdn md x"}))
        data, _ = unpacking.data_of(page_of(stem))
        run = data["runs"][0]
        assert (["level of theory", card["theory"]] in run["model"]["rows"]) == known
        assert run["command"] == "tdn md x"


def test_the_table_has_a_column_for_every_number(structures, unpacking):
    table = Path("relax.jsonl")
    table.write_text(
        table.read_text().replace('"reason"', '"novelty": 0.25, "strain": 3, "reason"')
    )
    data, _ = unpacking.data_of(page_of("relax.jsonl"))
    columns = {c["key"]: c["values"] for c in data["runs"][0]["table"]["columns"]}
    assert list(columns)[:3] == ["name", "n_atoms", "energy_eV"]
    assert columns["novelty"] == [0.25] * 4
    assert columns["strain"] == [3.0] * 4
    assert columns["converged"] == ["converged", "converged", "no", "converged"]
    assert columns["relative_eV"] == [None, None, 10.0, 0.0]  # of the two C2H6O
    assert "relaxed_bytes" not in columns


def test_a_folder_common_to_all_structures_is_left_out_of_their_names(structures, unpacking):
    table = Path("relax.jsonl")
    table.write_text(table.read_text().replace('"input": "', '"input": "../set/C'))
    data, _ = unpacking.data_of(page_of("relax.jsonl"))
    names = data["runs"][0]["table"]["columns"][0]["values"]
    assert names == ["CH2O.xyz", "CCH4.xyz", "CCH3CH2OH.xyz", "CCH3OCH3.xyz"]


def test_two_runs_are_compared(dynamics, unpacking):
    first, second = dynamics("a"), dynamics("b")  # the same numbers: the same structures
    data, _ = unpacking.data_of(page_of(first, second))
    row = data["comparison"]["rows"][1]
    assert row["rmsd_A"] == pytest.approx(0.0, abs=1e-9)
    assert row["difference_eV"] == 0.0
    assert [p["run"] for p in data["comparison"]["overlay"]] == [0, 1]


@pytest.mark.parametrize(("summary", "mean"), [({"mean_temperature_K": 205.0}, 205.0), ({}, 300.0)])
def test_comparison_has_the_mean_temperature_of_the_runs_own_page(
    dynamics, unpacking, summary, mean
):
    runs = dynamics("a"), dynamics("b")
    for run in runs:
        Path(f"{run}.json").write_text(json.dumps({"command": "md", **summary}))
    data, _ = unpacking.data_of(page_of(*runs))
    compared = [row["temperature_K"] for row in data["comparison"]["rows"]]
    assert compared == pytest.approx([mean, mean], abs=1)
    for run in data["runs"]:
        (own,) = (t["value"] for t in run["outcome"] if t["label"] == "Mean temperature")
        assert own == f"{compared[0]:.0f}"


def test_runs_of_different_molecules_have_no_difference(dynamics, unpacking):
    first, second = dynamics("a"), dynamics("b", atoms=molecule("CH4"))
    data, _ = unpacking.data_of(page_of(first, second))
    row = data["comparison"]["rows"][1]
    assert "rmsd_A" not in row
    assert "difference_eV" not in row
    assert data["comparison"]["overlay"] == []


def test_structures_of_two_runs_are_matched_by_name(structures, unpacking):
    Path("again").mkdir()
    frames = read("relaxed.extxyz", ":")
    frames[1].positions[1] += [0.0, 0.0, 0.5]
    write("again/relaxed.extxyz", frames[1:])
    lines = Path("relax.jsonl").read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace('"energy_eV": -10.0', '"energy_eV": -9.5')
    Path("again/relax.jsonl").write_text("".join(lines[1:]))
    data, array = unpacking.data_of(page_of("relax.jsonl", "again"))
    pairs = data["comparison"]["pairs"]
    assert array(pairs["shown"][1]["positions"][1])[0] == pytest.approx(
        frames[2].positions, abs=1e-4
    )
    assert pairs["name"] == ["CH4.xyz", "CH3CH2OH.xyz", "CH3OCH3.xyz"]
    assert pairs["difference_eV"] == [0.5, 0.0, 0.0]
    assert pairs["rmsd_A"][0] > 0.1
    assert pairs["rmsd_A"][1:] == pytest.approx([0.0, 0.0], abs=1e-6)
