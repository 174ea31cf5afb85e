import numpy as np
import pytest

from tdncalc.workflows.md_statistics import Statistics


def test_drift_is_the_slope_of_a_straight_line():
    statistics = Statistics()
    rng = np.random.default_rng(0)
    times = np.linspace(0, 10, 400)
    values = -1e6 + 0.02 * times + rng.normal(0, 1e-3, 400)
    for time, value in zip(times, values, strict=True):
        statistics.add_conserved(time, value)
    slope = np.polyfit(times, values, 1)[0]
    assert statistics.drift(5) == pytest.approx(1000 * slope / 5, rel=1e-6)


def test_few_frames_have_no_drift():
    statistics = Statistics()
    for time in range(9):
        statistics.add_conserved(float(time), 1.0)
    assert statistics.drift(1) is None


def test_restored_sums_go_on():
    whole, first, second = Statistics(), Statistics(), Statistics()
    for i in range(20):
        half = first if i < 10 else second
        if i == 10:
            second.restore(first.state())
        for statistics in (whole, half):
            statistics.add_step(300.0 + i)
            statistics.add_conserved(i * 0.1, i**0.5)
    assert second == whole
