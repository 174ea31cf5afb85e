"""``--dispersion`` from the option to every file, and back where a run is resumed."""

import json
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import read, write

from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import save_model
from tdncalc.cli.cluster import worker_model
from tdncalc.cli.options import ModelOptions
from tdncalc.report import read_runs
from tdncalc.report.facts import model

D3 = ("--dispersion", "PBE")


@pytest.fixture(scope="module")
def pbe_folder(make_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(path, make_network(), {"name": "tiny", "theory": "PBE"})
    return path


@pytest.fixture
def run(real_tdn, pbe_folder):
    return lambda *args: real_tdn(*args, "--model", pbe_folder, "--dtype", "float64")


@pytest.fixture
def energy_of(pbe_folder):
    """Energy of a structure with dispersion, eV."""
    calculator = TDNCalculator(pbe_folder, dtype="float64", dispersion="pbe")
    return lambda atoms: calculator.get_potential_energy(atoms)


@pytest.fixture
def both(folder):
    """A molecule and a crystal in one file."""
    frames = [molecule("CH3OH"), bulk("Cu", cubic=True)]
    for atoms in frames:
        atoms.rattle(0.05, seed=1)
    write("both.extxyz", frames)
    return "both.extxyz"


def test_energies_have_it(run, both, energy_of):
    facts = json.loads(run("energy", both, *D3, "--json").out)
    expected = [energy_of(atoms) for atoms in read(f"{both}@:")]
    assert [row["energy_eV"] for row in facts["results"]] == pytest.approx(expected, abs=1e-9)
    assert facts["model"]["dispersion"] == "D3(BJ) of pbe"
    assert "dftd3" in facts["versions"]
    plain = json.loads(run("energy", both, "--json").out)
    assert plain["results"][1]["energy_eV"] > expected[1] + 1
    assert "dispersion" not in plain["model"]


def test_energies_are_resumed_with_the_same_only(run, both):
    assert run("energy", f"{both}@0", *D3, "-o", "out.extxyz").code == 0
    assert read("out.extxyz").info["model_dispersion"] == "D3(BJ) of pbe"
    outcome = run("energy", both, "-o", "out.extxyz", "--resume")
    assert outcome.code == 1
    assert "was made with D3(BJ) of pbe, not with none; resume with the same" in outcome.err
    assert run("energy", both, *D3, "-o", "out.extxyz", "--resume").code == 0
    assert len(read("out.extxyz@:")) == 2


def test_energies_do_not_gain_it_when_resumed(run, both):
    run("energy", f"{both}@0", "-o", "out.extxyz")
    outcome = run("energy", both, *D3, "-o", "out.extxyz", "--resume")
    assert outcome.code == 1
    assert "was made with no dispersion, not with D3(BJ) of pbe" in outcome.err


def test_energies_of_a_file_made_with_it_do_not_claim_it(run, both):
    run("energy", both, *D3, "-o", "with.extxyz")
    run("energy", "with.extxyz", "-o", "without.extxyz")
    assert "model_dispersion" not in read("without.extxyz").info


def test_one_relaxation_has_it_and_is_resumed_with_the_same_only(run, both, energy_of):
    write("one.extxyz", read(f"{both}@0"))
    assert run("relax", "one.extxyz", *D3, "--steps", "2").code == 3
    summary = json.loads(Path("one-relax.json").read_text())
    assert summary["model"]["dispersion"] == "D3(BJ) of pbe"
    relaxed = read("one-relaxed.extxyz")
    assert relaxed.get_potential_energy() == pytest.approx(energy_of(relaxed), abs=1e-6)
    outcome = run("relax", "one.extxyz", "--resume")
    assert outcome.code == 1
    assert ") with D3(BJ) of pbe, not 'tiny' (" in outcome.err
    assert run("relax", "one.extxyz", *D3, "--steps", "3", "--resume").code == 3


def test_many_relaxations_have_it_and_are_resumed_with_the_same_only(run, both, energy_of):
    assert run("relax", f"{both}@:2", *D3, "--steps", "2").code == 3
    for atoms in read("relaxed.extxyz@:"):
        assert atoms.get_potential_energy() == pytest.approx(energy_of(atoms), abs=1e-6)
    lines = [json.loads(line) for line in Path("relax.jsonl").read_text().splitlines()]
    assert [line["model_dispersion"] for line in lines] == ["D3(BJ) of pbe"] * 2
    outcome = run("relax", f"{both}@:2", "--steps", "2", "--resume")
    assert outcome.code == 1
    assert ") with D3(BJ) of pbe, not 'tiny' (" in outcome.err
    assert run("relax", f"{both}@:2", *D3, "--steps", "2", "--resume").code == 3


@pytest.mark.parametrize("replicas", [(), ("--replicas", "2")])
def test_dynamics_has_it_and_is_resumed_with_the_same_only(replicas, run, both, energy_of):
    write("one.traj", read(f"{both}@1"))
    asked = ("md", "one.traj", "--interval", "2", *replicas)
    assert run(*asked, *D3, "--steps", "4").code == 0
    assert json.loads(Path("one-md.json").read_text())["model"]["dispersion"] == "D3(BJ) of pbe"
    last = read("one-md-1.traj@-1" if replicas else "one-md.traj@-1")
    assert last.get_potential_energy() == pytest.approx(energy_of(last), abs=1e-6)
    outcome = run(*asked, "--steps", "6", "--resume")
    assert outcome.code == 1
    assert ") with D3(BJ) of pbe, not 'tiny' (" in outcome.err
    assert run(*asked, *D3, "--steps", "6", "--resume").code == 0


@pytest.mark.parametrize("command", [("energy",), ("relax",), ("md", "--steps", "1")])
def test_dry_run_tells_of_it(command, run, both, files):
    outcome = run(*command, f"{both}@0", *D3, "--dry-run")
    assert outcome.code == 0
    assert ") with D3(BJ) of pbe, cpu" in outcome.out
    assert files() == [both]


def test_workers_are_told_of_it(pbe_folder):
    options = ModelOptions(str(pbe_folder), "cpu", "float64", None, "auto", None, "pbe")
    potential = TDNCalculator(pbe_folder, dispersion="pbe").potential
    assert worker_model(options, potential).dispersion == "pbe"


def test_report_tells_of_it(run, both):
    run("relax", both, *D3, "--steps", "1")
    for known in read_runs(["relax.jsonl"]), read_runs(["relax.json"]):
        (found,) = known
        assert ["dispersion added", "D3(BJ) of pbe"] in map(list, model(found)["rows"])


def test_what_is_wrong_is_one_line(run, real_tdn, both, files):
    for outcome, told in [
        (run("relax", both, "--dispersion", "x"), "dispersion 'x' is not known; give a functional"),
        (real_tdn("energy", both, *D3), "the theory of model 'organic', GFN2-xTB"),
        (real_tdn("md", f"{both}@0", "--steps", "1", *D3), "has dispersion already"),
    ]:
        assert outcome.code == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith("Error: ")
        assert told in line
    assert files() == [both]


@pytest.mark.filterwarnings("default")
def test_other_theory_is_a_warning(run, both):
    outcome = run("energy", f"{both}@0", "--dispersion", "b3lyp")
    assert outcome.code == 0
    assert "D3(BJ) of b3lyp is added to model 'tiny', whose theory is PBE: does" in outcome.err
