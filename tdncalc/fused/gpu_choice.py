"""Which evaluation of a network runs on a GPU: plain PyTorch, or kernels for the messages."""

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch

from tdncalc.errors import OptionError
from tdncalc.fused.fusing import failure, fuse
from tdncalc.fused.repeated import Repeated
from tdncalc.native.choice import Evaluation, meant
from tdncalc.native.network import unsupported
from tdncalc.tdn import TDN

__all__ = ["GPUChoice"]

logger = logging.getLogger(__name__)

_ROUNDED = (
    "PyTorch is set to multiply float32 matrices in TF32, of 10 bits: forces are about a thousand "
    "times less exact; unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, which NVIDIA's containers set, or "
    "call torch.set_float32_matmul_precision('highest')"
)


class GPUChoice:
    """The evaluation of one network on a GPU.

    With ``auto`` Triton's kernels gather the messages where they can, and steps with the same list
    of neighbors are recorded. TDNCALC_EVALUATION says what ``auto`` means, if it is set.

    Parameters
    ----------
    network
        The network, on the GPU.
    wanted
        ``auto``; ``eager``: PyTorch always; ``compiled``: the kernels or an error.
    device, dtype
        Where and how precisely the network is evaluated.

    Raises
    ------
    OptionError
        ``compiled`` is wanted but impossible, or ``wanted`` is none of the three.

    Attributes
    ----------
    fused
        The network with its kernels, if these evaluate.
    repeated
        What evaluates it.
    """

    def __init__(
        self, network: object, wanted: Evaluation, device: torch.device, dtype: torch.dtype
    ) -> None:
        wanted = meant(wanted)
        self._given = network, wanted, device, dtype
        self._rounded = False
        self.rounds_products()
        self.fused: TDN | None = None
        self._obstacle = _obstacle(network, wanted, dtype)
        if self._obstacle is None:
            assert isinstance(network, TDN)
            fused = fuse(network)
            self.fused = None if fused is network else fused
            self.repeated = Repeated(network.config.cutoff, device)
            self._obstacle = "Triton's kernels are not possible" if fused is network else None
        if wanted == "compiled" and self.reason is not None:
            raise OptionError(f"evaluation 'compiled' is not possible: {self.reason}")
        logger.info(
            "PyTorch evaluates: %s" if self.reason else "Triton's kernels gather messages",
            *([self.reason] if self.reason else []),
        )

    def __getstate__(self) -> tuple[Any, ...]:
        """Leave the kernels out of copies and pickles, which find their own."""
        network, _, device, dtype = self._given
        return network, self.wanted, device, dtype

    def __setstate__(self, given: tuple[Any, ...]) -> None:
        self.__init__(*given)  # type: ignore[misc]

    @property
    def reason(self) -> str | None:
        """Why PyTorch evaluates, if it does: also since a kernel failed."""
        return self._obstacle if self.fused is None else failure(self.fused)

    @property
    def wanted(self) -> Evaluation:
        """What a copy asks for: the same, but not again for kernels that failed."""
        asked = self._given[1]
        return "auto" if asked == "compiled" and self.reason else asked

    def name(self) -> Literal["eager", "compiled"]:
        """Tell what evaluates at present."""
        return "compiled" if self.reason is None else "eager"

    def rounds_products(self) -> bool:
        """Tell whether float32 matrices are multiplied in TF32; warn when that is switched on.

        It is a setting of the whole process, which its owner may change at any time.
        """
        rounded = self._given[3] == torch.float32 and _rounds_products()
        if rounded and not self._rounded:
            logger.warning(_ROUNDED)
        self._rounded = rounded
        return rounded

    def kernel(self) -> None:
        """Return None: no kernel evaluates the whole network."""
        return

    def compiling(self) -> bool:
        """Tell whether a kernel of the whole network is still to come: there is none."""
        return False

    def takes_pairs(self) -> bool:
        """Tell whether graphs may list pairs beyond the cutoff at little cost."""
        return self.fused is not None

    def settle(self, *, wait: bool = True) -> bool:
        """Tell whether kernels evaluate; that was decided at once."""
        return self.name() == "compiled"


def _rounds_products() -> bool:
    """Tell whether PyTorch rounds what it multiplies on a GPU."""
    matmul = torch.backends.cuda.matmul
    precision = getattr(matmul, "fp32_precision", None)  # since PyTorch 2.9; the other then raises
    if precision is None:
        return bool(matmul.allow_tf32)
    if precision == "none":
        precision = getattr(torch.backends, "fp32_precision", precision)
    return bool(precision == "tf32")


def _obstacle(network: object, wanted: str, dtype: torch.dtype) -> str | None:
    if wanted == "eager":
        return "it was asked for"
    if dtype != torch.float32:
        return "the kernels compute in float32"
    if find_spec("triton") is None:
        return "there is no Triton; install it"
    import triton

    if not hasattr(triton, "constexpr_function"):
        return f"Triton {triton.__version__} is too old; 3.5 or newer comes with PyTorch 2.9"
    return unsupported(network)
