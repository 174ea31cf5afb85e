"""Ctrl-C, SIGTERM and a closed terminal: finish the step, write what there is, leave."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_NOTE = b"\nStopping after this step; once more stops at once.\n"


class Stop:
    """Whether somebody asked to stop: call it."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.requested


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request and the second into an interrupt."""
    stop = Stop()

    def request(number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            if number == signal.SIGHUP:  # shell and kernel both tell of a closed terminal
                return
            raise KeyboardInterrupt
        stop.requested = True
        # Not click.echo: a handler may run in the middle of a write to the same buffer.
        with contextlib.suppress(OSError):
            os.write(2, _NOTE)

    with _handling((signal.SIGINT, *_terminating()), request):
        yield stop


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the program like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(_terminating(), interrupt):
        yield


def _terminating() -> tuple[signal.Signals, ...]:
    """Give the signals that ask a program to leave; nohup lets SIGHUP be ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _handling(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
