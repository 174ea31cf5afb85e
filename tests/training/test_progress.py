import pytest

from tdncalc.training.progress import Meter


def test_errors_stay_until_the_next_step_begins_new_means() -> None:
    meter = Meter()
    meter.add(10, 2, (0.5, 0.1), seconds=1.0)
    meter.add(30, 2, (1.5, 0.5), seconds=1.0)
    meter.forget_errors()
    assert meter.energy_error() == pytest.approx(1.0)
    assert meter.forces_error() == pytest.approx(0.4)
    meter.add(10, 2, (3.0, 0.2), seconds=2.0)
    assert meter.energy_error() == pytest.approx(3.0)
    assert meter.rate() == pytest.approx(50 / 4)
