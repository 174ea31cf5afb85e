import csv
import json

import pytest

from tdncalc.laboratory import measure as laboratory

PRODUCTS = ("--product", "gaunt-dense", "--product", "gaunt-so2", "--product", "matrix")
SMALL = ("benchmark", "products", "--edges", "3", "--channels", "2", *PRODUCTS)


def test_products_are_shown_under_their_maps(real_tdn):
    outcome = real_tdn(*SMALL, "--l-max", "1,2")
    assert outcome.code == 0
    assert outcome.out.count("map gaunt: even paths") == 2
    assert outcome.out.count("  matrix ") == 2
    assert "Compare times only within one map" in outcome.out
    assert outcome.err == ""


def test_json_is_one_object(real_tdn):
    outcome = real_tdn(*SMALL, "--l-max", "1..2", "--channels", "1,2", "--json")
    result = json.loads(outcome.out)
    found = {(m["l_max"], m["channels"], m["product"]) for m in result["measurements"]}
    assert len(found) == len(result["measurements"]) == 2 * 2 * 3
    assert result["machine"]


def test_results_are_written_in_every_format(real_tdn, folder):
    outcome = real_tdn(*SMALL, "--l-max", "1", "-o", "a.csv", "-o", "a.json", "-o", "a.png")
    assert outcome.code == 0
    with open("a.csv", newline="") as file:
        assert [row["product"] for row in csv.DictReader(file)] == [
            "gaunt-dense",
            "gaunt-so2",
            "matrix",
        ]
    assert len(json.loads((folder / "a.json").read_text())["measurements"]) == 3
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_defined_is_reported_with_the_reason(real_tdn):
    outcome = real_tdn(*SMALL, "--l-max", "1", "--operand", "many")
    assert outcome.code == 0
    assert "not defined: y must be the harmonics of one direction" in outcome.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--product", "fft"), "product 'fft' is not known; allowed: cg-e3nn, "),
        (("--l-max", "0"), "--l-max 0 is not allowed; give numbers from 1 on"),
        (("--l-max", "-2"), "--l-max -2 is not allowed"),
        (("--l-max", "3..1"), "--l-max 3..1 is not allowed"),
        (("--l-max", "7"), "--l-max 7 is too large; give 1 to 6"),
        (("--l-max", "two"), "--l-max two is no list of numbers"),
        (("--channels", "0"), "--channels 0 is not allowed"),
        (("--repeats", "4"), "4 is not in the range x>=5"),
        (("--device", "tpu"), "device 'tpu' is not known"),
        (("-o", "a.txt"), "-o a.txt has no format that is known; allowed: .csv, .json, .png"),
    ],
)
def test_bad_options_are_told_in_one_line(args, message, real_tdn, folder):
    outcome = real_tdn("benchmark", "products", *args)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing/a.csv", "missing"), ("taken.csv", "taken.csv: exists already")],
)
def test_file_that_cannot_be_written_stops_before_the_work(name, message, real_tdn, folder):
    (folder / "taken.csv").touch()
    outcome = real_tdn(*SMALL, "-o", name)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def test_file_is_replaced_if_asked(real_tdn, folder):
    (folder / "a.csv").touch()
    outcome = real_tdn(*SMALL, "--l-max", "1", "-o", "a.csv", "--overwrite")
    assert outcome.code == 0
    assert (folder / "a.csv").read_text().startswith("l_max,channels,")


@pytest.fixture
def interrupted(monkeypatch):
    """Press Ctrl-C while the setting of this number, from 0 on, is measured."""

    def at(number):
        measure, done = laboratory.measure, []

        def measured(entries, setting):
            if len(done) == number:
                raise KeyboardInterrupt
            done.append(setting)
            return measure(entries, setting)

        monkeypatch.setattr(laboratory, "measure", measured)

    return at


def test_an_interrupt_leaves_the_settings_that_are_measured(real_tdn, folder, interrupted):
    interrupted(1)
    files = ("-o", "a.csv", "-o", "a.json", "-o", "a.png")
    outcome = real_tdn(*SMALL, "--l-max", "1..3", *files)
    assert outcome.code == 130
    assert outcome.err == "\nstopped: 1 of 3 settings measured; wrote a.csv, a.json, a.png\n"
    with open("a.csv", newline="") as file:
        assert [row["l_max"] for row in csv.DictReader(file)] == ["1"] * 3
    assert json.loads((folder / "a.json").read_text())["reason"] == "stopped"


def test_an_interrupt_before_anything_is_measured_leaves_nothing(real_tdn, folder, interrupted):
    interrupted(0)
    outcome = real_tdn(*SMALL, "--l-max", "1", "-o", "a.csv")
    assert outcome.code == 130
    assert outcome.err.strip() == "Error: interrupted"
    assert not list(folder.iterdir())
