import json

import pytest

from tdncalc.cli import preview


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(preview, "_MEASURING", 0.0)


COMMANDS = [("energy",), ("relax",), ("md", "--time", "1 ps")]


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_writes_nothing(command, tdn, copper, files):
    outcome = tdn(*command, copper, "--dry-run", "-o", "out.extxyz")
    assert outcome.code == 0
    assert "copper.extxyz: 4 atoms (Cu4), 42.0 neighbors each" in outcome.out
    assert "model emt" in outcome.out
    assert files() == [copper]


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread\n"), (2, "2 threads\n")])
def test_dry_run_tells_the_threads(threads, said, tdn, copper, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert said in tdn("energy", copper, "--dry-run").out


@pytest.mark.parametrize(
    ("command", "evaluations"), list(zip(COMMANDS, (1, 501, 2001), strict=True))
)
def test_dry_run_estimates_time_and_memory(command, evaluations, tdn, copper):
    estimate = json.loads(tdn(*command, copper, "--dry-run", "--json").out)["estimate"]
    assert estimate["evaluations"] == evaluations
    once = estimate["seconds_per_evaluation"]
    assert estimate["seconds"] == pytest.approx(once * evaluations)
    assert estimate["memory_MB"] > 10


def test_dry_run_estimates_several_from_the_largest(tdn, copper, water):
    facts = json.loads(tdn("relax", copper, water, "--dry-run", "--json").out)
    assert [structure["input"] for structure in facts["structures"]] == [copper, water]
    assert [structure["edges"] for structure in facts["structures"]] == [168, 6]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("relax", "--steps", "9"), "one evaluation {once}, at most 10 times: at most {all};"),
        (("relax", "--steps", "0"), "one evaluation {once};"),
        (("md", "--steps", "9"), "one evaluation {once}, 10 times: {all};"),
        (("md", "--steps", "4", "--replicas", "2"), "one evaluation {once}, 10 times: {all};"),
    ],
)
def test_dry_run_says_where_fewer_evaluations_may_do(command, said, tdn, copper, monkeypatch):
    monkeypatch.setattr(preview, "_time_one", lambda source, calculator: 2.0)
    assert said.format(once="2 s", all="20 s") in tdn(*command, copper, "--dry-run").out
    estimate = json.loads(tdn(*command, copper, "--dry-run", "--json").out)["estimate"]
    assert estimate["at_most"] is ("at most" in said)


def test_dry_run_of_many_says_where_fewer_evaluations_may_do(tdn, copper, water):
    assert ", at most 501 times: at most " in tdn("relax", copper, water, "--dry-run").out
