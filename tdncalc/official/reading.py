"""Checkpoints of the published code (arXiv:2507.01131), read without trusting them."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tdncalc.errors import CheckpointError

__all__ = ["EMBEDDING", "Checkpoint", "read_checkpoint"]

Weights = Literal["raw", "ema"]

_PREFIXES = re.compile(r"^module\.|(?<=\.)_orig_mod\.|^_orig_mod\.")
_FACTOR = re.compile(r"\.cp_tp\.cp_[abc]$")
EMBEDDING = "atom_embed.atom_type_lin.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of the published code.

    Attributes
    ----------
    path
        Where it was read.
    state
        Its tensors, by their names in the published code without prefixes.
    forces
        ``direct`` or ``gradient`` as trained, if the optimizer's state tells; else None.
    has_average
        Whether the file holds averaged weights too.
    """

    path: Path
    state: dict[str, Tensor]
    forces: Literal["direct", "gradient"] | None
    has_average: bool


def read_checkpoint(path: str | Path, *, weights: Weights = "raw") -> Checkpoint:
    """Read a state dict or a training checkpoint, with any of the prefixes that wrappers add.

    Parameters
    ----------
    path
        The file. Nothing in it but tensors and plain containers is ever opened.
    weights
        ``raw``, or the moving average ``ema`` if the file holds one.

    Raises
    ------
    CheckpointError
        The file is none of these, or would run code if it were trusted.
    """
    path = Path(path)
    content = _load(path)
    named = content.get("model_state_dict", content)
    if not (isinstance(named, Mapping) and named) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in named.items()
    ):
        raise CheckpointError(f"{path}: neither a state dict nor a training checkpoint with one")
    state = {_PREFIXES.sub("", _PREFIXES.sub("", name)): value for name, value in named.items()}
    if EMBEDDING not in state and "norm.affine_weight" not in state:
        raise CheckpointError(
            f"{path}: a network of another architecture (its first entry is {next(iter(state))}); "
            "only checkpoints of the published TDN can be imported"
        )
    _require_plain(path, state)
    trained = [name for name in state if not _FACTOR.search(name)]
    average = content.get("ema_state_dict")
    if weights == "ema":
        state |= _averaged(path, average, {name: state[name] for name in trained})
    return Checkpoint(path, state, _trained_forces(content, trained), average is not None)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        damaged = _damaged_record(path) if start == b"PK" else None
        with warnings.catch_warnings():  # of kinds of tensors, of which errors tell better
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        if start == b"PK" and not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path}: only the first part of a PyTorch file; download it again"
            ) from error
        raise CheckpointError(f"{path}: {_unreadable(error)}") from error
    if damaged:
        raise CheckpointError(
            f"{path}: damaged, {damaged} is not as it was written; copy or download it again"
        )
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, no state dict")
    return content


def _damaged_record(path: Path) -> str | None:
    """Return the first part of a file that differs from its checksum, which torch.load ignores."""
    with zipfile.ZipFile(path) as archive:
        if any(record.CRC for record in archive.infolist()):  # PyTorch may be told to write none
            return archive.testzip()
    return None


def _unreadable(error: Exception) -> str:
    name = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and name:
        return f"would run code when loaded ({name[1]}) and is not opened; only tensors are read"
    return "not a PyTorch file of tensors, or a damaged one"


def _averaged(path: Path, average: object, trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the averaged weights, which stand in the order of the state dict without factors."""
    shadow = average.get("shadow_params") if isinstance(average, Mapping) else None
    if not isinstance(shadow, list | tuple):
        raise CheckpointError(f"{path}: holds no averaged weights; import it with --weights raw")
    plain = {
        name: value
        for name, value in zip(trained, shadow, strict=False)
        if isinstance(value, Tensor)
    }
    _require_plain(path, plain)
    shapes = [value.shape if isinstance(value, Tensor) else None for value in shadow]
    if shapes != [value.shape for value in trained.values()]:
        raise CheckpointError(f"{path}: its averaged weights do not fit its network")
    return dict(zip(trained, shadow, strict=True))


def _require_plain(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not stored number by number, before anything is asked of them."""
    for name, value in state.items():
        if kind := _special(value):
            raise CheckpointError(
                f"{path}: {name} is a {kind} tensor; save it as a dense one of 16 bits or more, as "
                "the published code does"
            )


def _special(value: Tensor) -> str | None:
    """Name the kind of a tensor that is not stored number by number; None of one that is."""
    if value.is_meta:
        return "meta"
    if value.is_nested:
        return "nested"
    if value.layout != torch.strided:
        return str(value.layout).removeprefix("torch.").replace("_", " ").lstrip()
    if value.is_quantized:
        return "quantized"
    return f"{value.dtype}" if value.is_floating_point() and value.itemsize < 2 else None


def _trained_forces(
    content: Mapping[str, Any], trained: list[str]
) -> Literal["direct", "gradient"] | None:
    """Tell from the optimizer, which keeps a state only of weights that had a gradient."""
    optimizer = content.get("optimizer_state_dict")
    moments = optimizer.get("state") if isinstance(optimizer, Mapping) else None
    if not isinstance(moments, Mapping) or not moments:
        return None
    head = {index for index, name in enumerate(trained) if name.startswith("force_head.")}
    return "direct" if head & set(moments) else "gradient"
