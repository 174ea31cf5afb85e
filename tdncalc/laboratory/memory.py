"""The most memory that a computation holds at once beyond its inputs."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_memory"]


class _Ledger(TorchDispatchMode):
    """Adds up the storages that operations return, for as long as something holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.held = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        kwargs = kwargs or {}
        old = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _storage(leaf) not in old:
                self._enter(leaf.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.live:
            return
        self.live[key] = storage.nbytes()
        self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._leave, key)

    def _leave(self, key: int) -> None:
        self.held -= self.live.pop(key, 0)


def peak_memory(compute: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that a computation held at once, without what it was given.

    On a GPU as torch's allocator counts them; on the CPU the results of all operations for as long
    as they live, without what an operation needs inside.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with _Ledger() as ledger:
        compute()
    peak: int = ledger.peak
    return peak


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
