"""How far a run is: a bar on a terminal, a line now and then elsewhere, nothing if quiet."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

from tdncalc.cli.failures import heard_or_not, say
from tdncalc.wording import counted

_REDRAW_S = 0.1
_LINE_S = 20.0


class Progress:
    """Progress of one run, on standard error.

    Parameters
    ----------
    label
        What is running.
    total
        Steps to take, as far as that is known.
    quiet
        Whether to say nothing.
    timestep_fs
        Simulated time of a step, for the speed in ns/day.
    unit
        What is counted.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        quiet: bool,
        timestep_fs: float | None = None,
        unit: str = "steps",
    ) -> None:
        self._label, self._total, self._quiet = label, total, quiet
        self._timestep_fs, self._unit = timestep_fs, unit
        self._bar: Any = None
        self._first: int | None = None
        self._shown = 0
        self._newest = 0, ""
        self._began = self._last = time.monotonic()
        self._period = _LINE_S

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._period = _REDRAW_S
            self._bar = click.progressbar(
                length=self._total,
                label=self._label,
                file=sys.stderr,
                show_pos=True,
                show_eta=False,  # click's counts the steps before a resume as done just now
                show_percent=False,
                item_show_func=lambda text: text,
                width=20,
            )
            with heard_or_not(sys.stderr):
                self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._draw(*self._newest)
            with heard_or_not(sys.stderr):
                self._bar.__exit__(kind, error, traceback)

    def show(self, done: int, text: str) -> None:
        """Show that ``done`` steps are done, if the last time is long enough ago."""
        moment = time.monotonic()
        if self._first is None:
            # A resumed run begins in the middle; its speed counts from here.
            self._first, self._began = done, moment
        self._newest = done, text
        if self._quiet or moment - self._last < self._period:
            return
        self._last = moment
        text = f"{text}  {self._speed(done, moment)}".rstrip()
        if self._bar is not None:
            self._draw(done, text)
            return
        noun = self._unit.removesuffix("s")
        counts = counted(done, noun) if self._total is None else f"{done}/{self._total} {noun}s"
        say(f"{self._label}: {counts}  {text}")

    def _draw(self, done: int, text: str) -> None:
        # Not the bar's update, which draws nothing when no step was taken.
        self._bar.make_step(done - self._shown)
        self._bar.current_item = text
        with heard_or_not(sys.stderr):
            self._bar.render_progress()
        self._shown = done

    def _speed(self, done: int, moment: float) -> str:
        steps = done - (self._first or 0)
        if steps == 0 or moment <= self._began:
            return ""
        rate = steps / (moment - self._began)
        speed = f"{rate:.3g} {self._unit}/s"
        if self._timestep_fs is not None:
            speed += f"  {rate * self._timestep_fs * 86400e-6:.3g} ns/day"
        if self._total is not None:
            speed += f"  {duration((self._total - done) / rate)} left"
        return speed


def duration(seconds: float) -> str:
    """Write a time for a person: ``0.12 s``, ``34 s``, ``5 min``, ``3.2 h``, ``4.5 d``."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
