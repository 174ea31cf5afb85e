import io

import pytest

from tdncalc.cli import progress
from tdncalc.cli.failures import warn
from tdncalc.cli.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def hasty(monkeypatch):
    """Show every step."""
    monkeypatch.setattr(progress, "_LINE_S", 0.0)
    monkeypatch.setattr(progress, "_REDRAW_S", 0.0)


@pytest.fixture
def on_terminal(monkeypatch):
    """Give what a call writes to a terminal; pytest replaces the stream between set-up and test."""

    def watch(call):
        stream = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            call()
        return stream.getvalue()

    return watch


def run(steps, *, start=0, **options):
    with Progress("water", start + steps, quiet=False, **options) as shown:
        for step in range(start, start + steps + 1):
            shown.show(step, f"{step} eV")


def test_lines_elsewhere_than_on_a_terminal(hasty, capsys):
    run(2, timestep_fs=0.5)
    out, err = capsys.readouterr()
    assert out == ""
    first, _, last = err.splitlines()
    assert first == "water: 0/2 steps  0 eV"
    assert last.startswith("water: 2/2 steps  2 eV  ")
    assert "steps/s" in last
    assert "ns/day" in last
    assert last.endswith("0 s left")


def test_one_of_a_number_that_is_not_known_has_no_plural(hasty, capsys):
    with Progress("relax", None, quiet=False, unit="structures") as shown:
        for done in (1, 2):
            shown.show(done, "3 at work")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "relax: 1 structure  3 at work"
    assert second.startswith("relax: 2 structures  3 at work")


def test_reader_that_leaves_ends_no_run(hasty, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

        def fileno(self):
            raise io.UnsupportedOperation("no file")

    class ClosedTerminal(Gone):
        def isatty(self):
            return True

    for stream in (Gone(), ClosedTerminal()):
        monkeypatch.setattr("sys.stderr", stream)
        run(2)
        warn("nobody hears")


def test_lines_come_now_and_then(capsys):
    run(100)
    assert capsys.readouterr().err == ""


def test_quiet_is_silent(hasty, on_terminal):
    def show():
        with Progress("water", 3, quiet=True) as shown:
            shown.show(1, "1 eV")

    assert on_terminal(show) == ""


def test_bar_on_a_terminal_ends_with_the_last_step(on_terminal):
    assert "1000/1000  1000 eV" in on_terminal(lambda: run(1000))


def test_bar_of_a_run_without_steps_shows_its_result(on_terminal):
    assert "0 eV" in on_terminal(lambda: run(0))


def test_speed_of_a_resumed_run_counts_its_own_steps(hasty, capsys, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    run(5, start=1000)
    assert "1 steps/s  0 s left" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12 s"), (34.2, "34 s"), (300, "5 min"), (11520, "3.2 h"), (400000, "4.63 d")],
)
def test_duration_is_for_people(seconds, text):
    assert duration(seconds) == text
