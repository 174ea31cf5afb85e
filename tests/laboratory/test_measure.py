"""What is measured is what is said: memory, errors, reasons, records and pictures."""

import csv
import io
import math
from dataclasses import replace

import pytest
import torch

from tdncalc.laboratory import measure as measuring
from tdncalc.laboratory.catalogue import CATALOGUE, chosen_entries
from tdncalc.laboratory.measure import Setting, measure
from tdncalc.laboratory.memory import peak_memory
from tdncalc.laboratory.plot import draw
from tdncalc.laboratory.report import csv_text, records, table

SETTING = Setting(
    l_max=2,
    channels=4,
    edges=8,
    many=False,
    device=torch.device("cpu"),
    dtype=torch.float64,
    repeats=5,
)
SOME = ("gaunt-dense", "gaunt-so2", "cg-e3nn", "equal-cp-quadratic")


@pytest.fixture(scope="module")
def rows():
    return measure(chosen_entries(SOME), SETTING)


def test_every_product_is_measured_in_the_order_of_the_catalogue(rows):
    assert [row.product for row in rows] == [e.name for e in CATALOGUE if e.name in SOME]
    for row in rows:
        assert not row.reason
        assert 0.0 < row.forward_ms < math.inf
        assert 0.0 < row.backward_ms < math.inf
        assert row.memory_MB > 0.0
        assert row.flops > 0


def test_errors_of_exact_products_are_rounding(rows):
    for row in rows:
        assert (row.error < 1e-13) == row.exact
        assert (row.rotation_error < 1e-13) == row.exact
        assert (row.reflection_error < 1e-13) == row.product.startswith("gaunt")


def test_missing_couplings_are_named(rows):
    missing = {row.product: row.missing for row in rows}
    assert missing["gaunt-dense"] == ("1x1->1", "1x2->2", "2x1->2", "2x2->1")
    assert missing["cg-e3nn"] == ()


def test_product_in_the_frame_of_an_edge_is_not_defined_for_features():
    (row,) = measure(chosen_entries(["gaunt-so2"]), replace(SETTING, many=True))
    assert row.reason == "not defined: y must be the harmonics of one direction"
    assert row.forward_ms is None


def test_product_without_an_exact_rank_is_reported(monkeypatch):
    monkeypatch.setattr("tdncalc.laboratory.catalogue.EXACT_RANKS", {("O3", "gaunt"): {}})
    (row,) = measure(chosen_entries(["gaunt-cp"]), SETTING)
    assert row.reason == "not defined: no exact rank is known at l_max 2"


def test_product_that_is_too_large_is_reported(monkeypatch):
    monkeypatch.setattr(measuring, "MAX_WORKSPACE", 2000)
    dense, cp = measure(chosen_entries(["gaunt-dense", "gaunt-cp"]), replace(SETTING, edges=3))
    assert not dense.reason
    assert cp.reason.startswith("too large: one array of 0.0 GiB")
    assert "fewer --edges" in cp.reason


def test_operands_that_are_too_large_are_reported():
    rows = measure(chosen_entries(["gaunt"]), replace(SETTING, edges=10**12))
    assert all(row.reason.startswith("too large: one array of") for row in rows)


def test_peak_memory_counts_what_is_alive_at_once():
    x = torch.ones(1000, dtype=torch.float64)

    def three_at_once():
        doubled = x * 2
        tripled = x * 3
        return (doubled + tripled).view(10, 100)

    def one_after_another():
        for _ in range(5):
            x * 2

    assert peak_memory(three_at_once, x.device) == 3 * 8000
    assert peak_memory(one_after_another, x.device) == 8000


def test_records_are_written_as_csv(rows):
    written = list(csv.DictReader(io.StringIO(csv_text(records(SETTING, rows)))))
    assert [row["product"] for row in written] == [row.product for row in rows]
    assert written[1]["missing"].split() == ["1x1->1", "1x2->2", "2x1->2", "2x2->1"]
    assert {(row["l_max"], row["operand"], row["dtype"]) for row in written} == {
        ("2", "one", "float64")
    }


def test_table_puts_each_product_under_its_map(rows):
    text = table(SETTING, rows)
    blocks = {block.split(":")[0]: block for block in text.split("\n\n")[1:]}
    assert set(blocks) == {"map paths", "map gaunt", "map equal"}
    assert "gaunt-so2" in blocks["map gaunt"]
    assert "11/15" in blocks["map gaunt"]
    assert "gaunt-so2" not in blocks["map paths"]


@pytest.mark.parametrize("degrees", [[2], [1, 2]])
def test_picture_is_a_small_png(degrees, rows, tmp_path):
    found = [r for n in degrees for r in records(replace(SETTING, l_max=n), rows)]
    found[-1]["backward_ms"] = None
    draw(tmp_path / "a.png", found, "a machine")
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000
