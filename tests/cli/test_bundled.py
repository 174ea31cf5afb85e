"""The commands with the bundled default model and a drug molecule."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from tdncalc import TDNCalculator

ASPIRIN = Path(__file__).parents[2] / "examples" / "aspirin.xyz"


def test_default_model_is_listed_and_intact(real_tdn):
    assert real_tdn("models").out.startswith("organic\n")
    assert real_tdn("models", "verify").code == 0


def test_relaxation_from_cold_takes_less_than_ten_seconds(folder):
    def cpu_seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = cpu_seconds()
    command = [sys.executable, "-m", "tdncalc", "relax", ASPIRIN, "--threads", "1"]
    subprocess.run(command, check=True, capture_output=True)
    assert cpu_seconds() - before < 10
    relaxed = read("aspirin-relaxed.extxyz")
    assert np.linalg.norm(relaxed.get_forces(), axis=1).max() < 0.05


def test_energy_is_that_of_the_default_calculator(real_tdn):
    facts = json.loads(real_tdn("energy", ASPIRIN, "--json").out)
    atoms = read(ASPIRIN)
    atoms.calc = TDNCalculator()
    assert facts["results"][0]["energy_eV"] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    assert facts["model"]["name"] == "organic"


def test_dynamics_keep_the_molecule_together(real_tdn):
    outcome = real_tdn("md", ASPIRIN, "--time", "20 fs", "--ensemble", "nve")
    assert outcome.code == 0
    last = read("aspirin-md.traj@-1")
    assert abs(last.get_all_distances() - read(ASPIRIN).get_all_distances()).max() < 1


def test_element_that_the_model_lacks_is_named(real_tdn, copper, files):
    outcome = real_tdn("relax", copper)
    assert outcome.code == 1
    assert outcome.err == (
        "Error: copper.extxyz: element Cu (atom 0) is not in model 'organic' "
        "(H B C N O F Si P S Cl Br I); see 'tdn models list'\n"
    )
    assert files() == [copper]
