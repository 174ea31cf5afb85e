"""The GPU that work goes to."""

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["on_device"]


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Send the work of a block to this GPU, whichever is torch's present one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
