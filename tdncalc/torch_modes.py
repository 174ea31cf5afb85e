"""PyTorch as this package means it, whatever modes its caller has switched on."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch._C import _len_torch_function_stack

from tdncalc.daemons import awaited

__all__ = ["undisturbed"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def undisturbed(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function run without the caller's inference mode, autocast and default device.

    Without gradients there are no forces, in half the digits they are wrong, and tensors that the
    caller wants on a GPU by default are not where a kernel of the CPU looks for them. A daemon
    thread may call it while the process ends.
    """

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if not (opposites := _opposites()):  # a step of a small molecule feels microseconds
            return function(*args, **kwargs)
        with ExitStack() as stack:
            for opposite in opposites:
                stack.enter_context(opposite)
            return function(*args, **kwargs)

    return awaited(run)


def _opposites() -> list[AbstractContextManager[object]]:
    """Return what undoes the modes that are on; nothing, and soon, where none is."""
    found: list[AbstractContextManager[object]] = []
    if torch.is_inference_mode_enabled():
        found.append(torch.inference_mode(mode=False))
    found += [
        torch.autocast(kind, enabled=False)
        for kind in ("cpu", "cuda")
        if torch.is_autocast_enabled(kind)
    ]
    if _may_have_default_device() and torch.empty(0).device.type != "cpu":
        found.append(torch.device("cpu"))
    return found


def _may_have_default_device() -> bool:
    """Tell whether some mode of PyTorch's functions is on, as a default device is one.

    To make a tensor lets go of Python's lock: a process that ends while a daemon thread waits for
    it there is aborted. This does not, and takes less than a microsecond.
    """
    return _len_torch_function_stack() > 0
