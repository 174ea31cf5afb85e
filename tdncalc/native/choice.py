"""Which evaluation of a network runs: plain PyTorch, or its compiled kernel once there is one."""

import logging
import os
from typing import Any, Literal, get_args

import torch

from tdncalc.errors import OptionError
from tdncalc.native.build import find_build
from tdncalc.native.network import NativeNetwork, headers, unsupported
from tdncalc.tdn import TDN

__all__ = ["Choice", "Evaluation", "meant"]

logger = logging.getLogger(__name__)

_VARIABLE = "TDNCALC_EVALUATION"
_NOT_YET = "the kernel is not compiled yet"

Evaluation = Literal["auto", "eager", "compiled"]


class Choice:
    """The evaluation of one network.

    With ``auto`` PyTorch evaluates until the kernel is there; it is compiled in the background,
    once per machine and network size, and no call ever waits for it. Both agree to rounding. The
    environment variable TDNCALC_EVALUATION says what ``auto`` means, if it is set.

    Parameters
    ----------
    network
        The network.
    wanted
        ``auto``; ``eager``: PyTorch always; ``compiled``: the kernel or an error.
    device, dtype
        Where and how precisely the network is evaluated.

    Raises
    ------
    OptionError
        ``compiled`` is wanted but impossible, or ``wanted`` is none of the three.

    Attributes
    ----------
    reason
        Why PyTorch evaluates, as far as it does.
    """

    def __init__(
        self, network: object, wanted: Evaluation, device: torch.device, dtype: torch.dtype
    ) -> None:
        wanted = meant(wanted)
        self._kernel: NativeNetwork | None = None
        self._network: TDN | None = None
        self._announced = False
        self.reason: str | None = None
        if obstacle := _obstacle(network, wanted, device, dtype):
            self._give_up(obstacle)
        else:
            assert isinstance(network, TDN)
            self._network = self._evaluated = network
            self._build = find_build(headers(network))
            self.reason = _NOT_YET
        if wanted == "compiled" and not self.settle():
            raise OptionError(f"evaluation 'compiled' is not possible: {self.reason}")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernel out of copies and pickles: they load it again when they compute."""
        state = dict(vars(self))
        if self._kernel is not None:
            state |= {"_kernel": None, "_network": self._evaluated, "reason": _NOT_YET}
        return state

    def name(self) -> Literal["eager", "compiled"]:
        """Tell what evaluates at present."""
        return "eager" if self._kernel is None else "compiled"

    def kernel(self) -> NativeNetwork | None:
        """Return the kernel if it is there; else see to it that it will be."""
        if self._network is not None:
            if self._build.ready():
                self._load(self._network)
            elif obstacle := self._build.start():
                self._give_up(obstacle)
            elif not self._announced:
                self._announced = True
                logger.info("PyTorch evaluates while the kernel is being compiled")
        return self._kernel

    def compiling(self) -> bool:
        """Tell whether the kernel is still to come."""
        return self.kernel() is None and self._network is not None

    def rounds_products(self) -> bool:
        """Tell whether float32 matrices are multiplied in TF32: only GPUs do."""
        return False

    def takes_pairs(self) -> bool:
        """Tell whether graphs may list pairs beyond the cutoff at little cost."""
        return self.kernel() is not None

    def settle(self, *, wait: bool = True) -> bool:
        """Decide now and for good, and tell whether the kernel evaluates.

        With ``wait`` a kernel that can be had is waited for; else it must be there.
        """
        if self.compiling():
            assert self._network is not None
            if wait and self._build.wait():
                self._load(self._network)
            else:
                self._give_up("the kernel did not compile" if wait else str(self.reason))
        return self._kernel is not None

    def _load(self, network: TDN) -> None:
        try:
            self._kernel = NativeNetwork(network, self._build.library)
            self._network, self.reason = None, None
            logger.info("a compiled kernel evaluates: %s", self._build.library)
        except (OSError, AttributeError) as error:
            self._build.discard()
            self._give_up(f"{self._build.library} cannot be loaded ({error})")

    def _give_up(self, reason: str) -> None:
        logger.info("PyTorch evaluates: %s", reason)
        self._network, self.reason = None, reason


def meant(wanted: Evaluation) -> Evaluation:
    """Return what an evaluation stands for on this machine; an OptionError if it is not known."""
    if wanted == "auto":
        wanted = os.environ.get(_VARIABLE, "auto")  # type: ignore[assignment]
    if wanted not in get_args(Evaluation):
        allowed = ", ".join(get_args(Evaluation))
        raise OptionError(f"evaluation {wanted!r} is not known; allowed: {allowed}")
    return wanted


def _obstacle(network: object, wanted: str, device: torch.device, dtype: torch.dtype) -> str | None:
    if wanted == "eager":
        return "it was asked for"
    if device.type != "cpu":
        return f"the kernel runs on the CPU, not on {device.type}"
    if dtype != torch.float32:
        return "the kernel computes in float32"
    return unsupported(network)
