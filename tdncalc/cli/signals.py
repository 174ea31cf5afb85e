"""Ctrl-C and SIGTERM: finish the step, write what there is, leave."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTE = b"\nStopping after this step; once more stops at once.\n"


class Stop:
    """Whether somebody asked to stop: call it."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.requested


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a request and the second into an interrupt."""
    stop = Stop()

    def request(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        # Not click.echo: a handler may run in the middle of a write to the same buffer.
        os.write(2, _NOTE)

    with _handling(_SIGNALS, request):
        yield stop


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end the program like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), interrupt):
        yield


@contextmanager
def _handling(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
