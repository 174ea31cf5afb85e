"""Let a process end while daemon threads compute.

Python ends such a thread where it next asks for the interpreter's lock. Within PyTorch that is in
the middle of C++ that cannot be left so, and the process is aborted. So the end waits until they
are out of it, and lets none in again.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["awaited"]

_LONGEST = 10.0  # s that the end of a process waits

_P = ParamSpec("_P")
_R = TypeVar("_R")

_computing: set[int] = set()  # daemon threads by their identifiers
_ending = threading.Event()
os.register_at_fork(after_in_child=_computing.clear)  # there they are not


def awaited(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let the end of the process wait for a function that a daemon thread calls."""

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        thread = threading.current_thread()
        if not thread.daemon or thread.ident is None or thread.ident in _computing:
            return function(*args, **kwargs)
        _computing.add(thread.ident)
        try:
            if _ending.is_set():
                _computing.discard(thread.ident)
                threading.Event().wait()  # until the process is gone
            return function(*args, **kwargs)
        finally:
            _computing.discard(thread.ident)

    return run


@atexit.register
def _wait() -> None:
    _ending.set()
    last = time.monotonic() + _LONGEST
    while _computing and time.monotonic() < last:
        time.sleep(0.001)
