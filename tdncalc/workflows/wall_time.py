"""The end of a run before a limit of wall time, such as that of a queue."""

from __future__ import annotations

import re
import time

from tdncalc.errors import OptionError

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PART = rf"({NUMBER})\s*(d|h|min|m|s)\s*"
_CLOCK = r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)"
# What is left for writing the last structure and the summary, s.
_RESERVE = 1.0


class WallTime:
    """Asks to stop while there is still time for a step and a checkpoint; call it after each step.

    Parameters
    ----------
    limit
        From now: "23h50m", "2 h", "90 min", "3600 s", or as queues write it "1-02:30:00".

    Raises
    ------
    OptionError
        The limit is no such time.
    """

    def __init__(self, limit: str) -> None:
        self.limit = limit.strip()
        self.reached = False
        self._end = time.monotonic() + seconds(limit)
        self._last: float | None = None
        self._longest = 0.0

    def __call__(self) -> bool:
        """Whether twice the longest step so far would not fit into what is left."""
        now = time.monotonic()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        self.reached = now + 2 * self._longest + _RESERVE > self._end
        return self.reached


def seconds(text: str) -> float:
    """Return the seconds of a wall time.

    Raises
    ------
    OptionError
        The text is none, or one without a unit, which queues count in minutes and others do not.
    """
    clock = re.fullmatch(_CLOCK, text.strip())
    if clock is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        total = float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    elif re.fullmatch(rf"(?:{_PART})+", text.strip()):
        total = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))
    else:
        total = 0.0
    if total == 0.0:
        raise OptionError(
            f"{text!r} is no wall time; give one above 0 with its unit, like '23h50m', '90 min' or "
            "'1-02:30:00'"
        )
    return total
