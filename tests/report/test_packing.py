import numpy as np
import pytest

from tdncalc.errors import StructureError
from tdncalc.report.packing import POSITION_STEP, Packer, numbers


def test_positions_come_back_to_half_a_step(unpacking):
    rng = np.random.default_rng(1)
    first = np.cumsum(rng.normal(size=(50, 20, 3)), axis=0) - 4000.0
    second = rng.normal(size=(7, 3))
    packer = Packer()
    refs = {"a": packer.add(first, POSITION_STEP), "b": packer.add(second, POSITION_STEP)}
    value, array = unpacking.unpacked(packer.pack({**refs, "text": "Å"}))
    assert value["text"] == "Å"
    assert np.abs(array(value["a"]) - first).max() <= POSITION_STEP / 2 * 1.001
    assert np.abs(array(value["b"]) - second).max() <= POSITION_STEP / 2 * 1.001


def test_differences_that_wrap_around_come_back(unpacking):
    values = np.array([[2.1e5], [-2.1e5], [2.1e5]])
    packer = Packer()
    value, array = unpacking.unpacked(packer.pack({"a": packer.add(values, POSITION_STEP)}))
    assert array(value["a"]) == pytest.approx(values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_what_cannot_be_packed_is_refused(bad):
    with pytest.raises(StructureError, match="too far from the origin"):
        Packer().add(np.array([[0.0, bad]]), POSITION_STEP)


def test_numbers_that_are_none_become_null():
    assert numbers(np.array([1.23456789012, np.nan, np.inf]), 4) == [1.235, None, None]
