"""Several processes that learn together, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from tdncalc.checkpoint import find_device

__all__ = ["Processes", "joined", "process_rank"]

# Others wait while the first one packs data, validates or calibrates; nccl ends them after ten
# minutes if it is not told.
_PATIENCE = timedelta(days=7)


def process_rank() -> int:
    """Return which of the processes of a run this is; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True)
class Processes:
    """The processes of a run, each with its share of every batch.

    Attributes
    ----------
    rank, size
        Which one this is, from 0, and how many there are. The first one writes.
    device
        What this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the means of tensors over the processes."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def total(self, value: float) -> float:
        """Return the sum of a number over the processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return float(tensor)

    def wait(self) -> None:
        """Go on when all have come here."""
        self.total(0.0)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, if it did, for as long as the context lasts.

    They talk through nccl on CUDA, a device each, and through gloo on CPUs.

    Raises
    ------
    OptionError
        There are more processes on this machine than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        device = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(process_rank(), size, device)
    finally:
        dist.destroy_process_group()
