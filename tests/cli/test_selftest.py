import json

import pytest
from ase.build import bulk, molecule
from ase.io import write


def test_the_bundled_model_passes_with_a_table(real_tdn):
    outcome = real_tdn("selftest", "--dtype", "float64")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].split() == ["check", "largest", "limit", "unit", "structure"]
    assert "FAILED" not in outcome.out
    assert outcome.out.splitlines()[-1] == "organic, cpu, float64, eager: all 18 checks passed"


def test_figures_are_one_json_object(real_tdn):
    report = json.loads(real_tdn("selftest", "--json", "--dtype", "float64").out)
    assert report["passed"]
    assert report["dtype"] == "float64"
    assert {"check", "value", "unit", "limit", "structure", "passed"} == set(report["checks"][0])


@pytest.mark.parametrize(
    ("atoms", "n_checks"), [(molecule("CH4"), 15), (bulk("C", cubic=True), 14)]
)
def test_a_users_structure_is_checked(atoms, n_checks, real_tdn, folder):
    write("mine.extxyz", atoms)
    outcome = real_tdn("selftest", "mine.extxyz", "--dtype", "float64")
    assert outcome.code == 0
    assert f"all {n_checks} checks passed" in outcome.out


def test_an_element_that_the_model_does_not_know_is_one_line(real_tdn, folder):
    write("lead.extxyz", bulk("Pb"))
    outcome = real_tdn("selftest", "lead.extxyz")
    assert outcome.code == 1
    assert "element Pb" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_an_input_that_cannot_be_read_is_no_success(real_tdn, folder):
    write("mine.extxyz", molecule("CH4"))
    outcome = real_tdn("selftest", "mine.extxyz", "missing.xyz", "--dtype", "float64")
    assert outcome.code == 1
    assert "missing.xyz" in outcome.err
    assert "checks passed" in outcome.out


def test_an_element_that_the_model_does_not_know_names_its_file(real_tdn, folder):
    write("water.xyz", molecule("H2O"))
    write("cu.extxyz", bulk("Cu"))
    outcome = real_tdn("selftest", "water.xyz", "cu.extxyz", "--model", "organic-small")
    assert outcome.code == 1
    assert "cu.extxyz: element Cu (atom 0) is not in model" in outcome.err
