import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def run(tdn, water):
    tdn("md", water, "--steps", "40", "--interval", "10", "--seed", "1", "-q")
    return "water-md"


def test_a_run_becomes_one_file(tdn, run):
    outcome = tdn("report", run)
    assert outcome.code == 0
    assert outcome.out.startswith("water-md: wrote report.html, 0.")
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")


def test_json_says_what_was_written(tdn, run):
    facts = json.loads(tdn("report", run, "-o", "a.html", "--json").out)
    assert facts["output"] == "a.html"
    assert facts["runs"] == ["water-md"]
    assert facts["megabytes"] == pytest.approx(Path("a.html").stat().st_size / 1e6)


def test_nothing_is_overwritten(tdn, run):
    Path("report.html").write_text("mine")
    refused = tdn("report", run)
    assert refused.code == 1
    assert "--resume" not in refused.err  # a report has none
    assert Path("report.html").read_text() == "mine"
    assert tdn("report", run, "--overwrite").code == 0


@pytest.mark.parametrize("name", ["water-md.traj", "a.pdf", "report"])
def test_a_report_goes_to_html_only(tdn, run, folder, name):
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = tdn("report", run, "-o", name, "--overwrite")
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: -o {name}: its name must end in .html or .htm")
    assert outcome.err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_what_is_no_run_is_one_line(tdn, folder):
    outcome = tdn("report", "nothing")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: nothing: no run; give a folder")
    assert outcome.err.count("\n") == 1
    assert not Path("report.html").exists()


def test_a_run_that_a_guard_ended_at_its_start_is_shown(tdn, copper, folder):
    assert tdn("md", copper, "--steps", "5", "--max-force", "1e-9").code == 4
    outcome = tdn("report", "copper-md")
    assert outcome.code == 0, outcome.err


def test_relaxations_and_streams_are_reported(tdn, copper, water):
    tdn("relax", copper, "--output-dir", "one", "-q")
    tdn("relax", copper, water, "--output-dir", "many", "-q")
    outcome = tdn("report", "one", "many")
    assert outcome.code == 0
    assert outcome.out.startswith("one/copper-relax, many/relax: wrote report.html")


def test_torch_is_not_imported(run):
    code = (
        "import sys; from tdncalc.cli.main import main; code = main(['report', 'water-md']);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, check=False)
    assert done.returncode == 0


def test_structures_that_are_cut_off_are_one_line_of_warning(tdn, copper, water):
    tdn("relax", copper, water, "-q")
    whole = Path("relaxed.extxyz").read_bytes()
    Path("relaxed.extxyz").write_bytes(whole[:-20])
    outcome = tdn("report", ".")
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: relaxed.extxyz is cut off in the middle of a structure")
    assert outcome.err.count("\n") == 1
