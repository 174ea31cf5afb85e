import pytest

from tdncalc.errors import OptionError
from tdncalc.workflows import wall_time
from tdncalc.workflows.wall_time import WallTime, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23h50m", 85800),
        ("2 h", 7200),
        ("1e3 s", 1000),
        (".2e+1h", 7200),
        ("90 min", 5400),
        (" 3600 s ", 3600),
        ("1.5h", 5400),
        ("1d 2h 30min 5s", 95405),
        ("1-02:30:00", 95400),
        ("23:50:00", 85800),
    ],
)
def test_wall_time_is_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "60", "12:30", "1:75:00", "-2 h", "2 weeks", "0 s", "h", "nan s"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(OptionError, match="is no wall time; give one above 0 with its unit"):
        seconds(text)


def test_run_ends_while_two_of_its_longest_steps_still_fit(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(wall_time.time, "monotonic", lambda: clock[0])
    stop = WallTime("100 s")
    clock[0] = 40.0  # the model was loaded: no step
    asked = []
    for step in [5.0, 10.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]:
        asked.append(stop())
        clock[0] += step
    assert asked == [False] * 7 + [True]
    assert stop.reached
