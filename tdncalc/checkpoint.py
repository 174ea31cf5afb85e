"""Model folders: weights as safetensors beside a card, bundled with the package or anywhere."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from tdncalc.architectures import (
    Network,
    architecture,
    build_network,
    parse_config,
    with_product,
)
from tdncalc.cards import CARD, DEFAULT_MODEL, FORMAT, bundled_models, model_folder, read_card
from tdncalc.dispersion import make_dispersion, unlike_theory
from tdncalc.errors import (
    ConfigError,
    DamagedModelError,
    OptionError,
    OutputError,
)
from tdncalc.model_warnings import failed_checks
from tdncalc.native.choice import Evaluation
from tdncalc.nn.coupling import Coupling, CPFactors
from tdncalc.novelty import FILE as NOVELTY_FILE
from tdncalc.novelty import Novelty, described, read_novelty
from tdncalc.potential import Potential
from tdncalc.torch_modes import undisturbed

__all__ = [
    "DEFAULT_MODEL",
    "add_errors",
    "add_novelty",
    "bundled_models",
    "find_device",
    "load_model",
    "load_network",
    "model_folder",
    "read_card",
    "save_model",
    "verify",
]

_WEIGHTS = "model.safetensors"
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@undisturbed
def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: str = "float32",
    product: str | None = None,
    evaluation: Evaluation = "auto",
    dispersion: str | None = None,
) -> Potential:
    """Load a bundled model or a model folder, ready to evaluate.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    device
        ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:n``, or a ``torch.device``.
    dtype
        ``float32`` or ``float64``.
    product
        How the tensor products are evaluated, other than the card says: ``dense``, ``cp`` or
        ``cg``; of a published network also ``exact-dense`` and ``exact-cp``.
    evaluation
        ``auto``: in float32 a compiled kernel as soon as there is one, on a GPU Triton's;
        ``eager``: PyTorch; ``compiled``: the kernel, compiled now if need be.
    dispersion
        A functional, as ``pbe``: D3(BJ) with its parameters is added to energies, forces, stresses
        and second derivatives, see :class:`tdncalc.dispersion.Dispersion`. None adds nothing.

    Warns
    -----
    UserWarning
        The model failed physics checks when it was imported; their figures are in its card. Or its
        theory is not the functional of the dispersion.

    Raises
    ------
    ModelNotFoundError
        No bundled model and no folder has this name.
    DamagedModelError
        The folder's files are incomplete, or do not match their card.
    OptionError
        The device, dtype, product or evaluation is not one of the above, or not possible here; or
        the dispersion is not known, its package not installed, or in the model's theory already.
    """
    if dtype not in _DTYPES:
        raise OptionError(f"dtype {dtype!r} is not known; allowed: {', '.join(_DTYPES)}")
    place = find_device(device)
    folder = model_folder(model)
    card = read_card(folder)
    added = None if dispersion is None else make_dispersion(dispersion)
    doubts = None if added is None else unlike_theory(card, added)
    network = load_network(folder, product=product)
    if product is not None and evaluation == "auto":
        evaluation = "eager"  # the kernel has one product of its own
    for doubt in (failed_checks(card), doubts):
        if doubt is not None:
            warnings.warn(doubt, stacklevel=2)
    return Potential(
        network,
        card,
        device=place,
        dtype=_DTYPES[dtype],
        evaluation=evaluation,
        novelty=_read_novelty(folder, card, network),
        dispersion=added,
    )


def _read_novelty(folder: Path, card: dict[str, Any], network: Network) -> Novelty | None:
    config = network.config
    return read_novelty(folder, card, config.n_layers * config.channels)


@undisturbed
def load_network(model: str | Path, *, product: str | None = None) -> Network:
    """Load the network of a model, in the dtype of its weights, on the CPU."""
    folder = model_folder(model)
    card = read_card(folder)
    state = _read_weights(folder, card)
    try:
        config = parse_config(card.get("architecture", "tdn"), card["config"])
        if lacking := sorted(set(config.to_dict()) - set(card["config"])):
            raise ConfigError(f"its config lacks {', '.join(lacking)}")
        if card.get("config_sha256", digest := _digest(card["config"])) != digest:
            raise ConfigError("its config is not as it was written")
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise _misfit(folder, error) from error
    if product is not None:
        config = with_product(config, product)
    try:
        factors = CPFactors(
            **{name: state.pop(f"coupling.{name}") for name in "abc"},
            residual=float(card["coupling_residual"]),
        )
        coupling = Coupling(tensor=state.pop("coupling.tensor"), factors=factors)
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
            network = build_network(config, coupling)
        network.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, ValueError, TypeError, ConfigError) as error:
        raise _misfit(folder, error) from error
    return network


def _misfit(folder: Path, error: Exception) -> DamagedModelError:
    reason = " ".join(str(error).split())
    return DamagedModelError(f"{folder / _WEIGHTS}: does not fit its card ({reason})")


def verify(model: str | Path) -> None:
    """Raise a DamagedModelError unless a model's files are complete, match their card and load."""
    network = load_network(model)
    folder = model_folder(model)
    _read_novelty(folder, read_card(folder), network)


def save_model(folder: str | Path, network: Network, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write a network and its card as a model folder, replacing one that is there.

    What the folder held of a novelty was of other weights, and goes.

    Returns
    -------
    dict
        The card as written, with elements, configuration, format, parameter count and checksums.
    """
    folder = Path(folder)
    coupling = network.coupling
    state = dict(network.state_dict()) | {
        "coupling.tensor": coupling.tensor,
        **{f"coupling.{name}": getattr(coupling.factors, name) for name in "abc"},
    }
    data = dump_tensors({name: _plain(tensor) for name, tensor in state.items()})
    written = dict(card) | {
        "format": FORMAT,
        "architecture": architecture(network.config),
        "elements": list(network.config.elements),
        "cutoff_A": network.config.cutoff,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "coupling_residual": coupling.factors.residual,
        "config": network.config.to_dict(),
        "config_sha256": _digest(network.config.to_dict()),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    written.pop("novelty", None)
    with _writing(folder, "model"):
        folder.mkdir(parents=True, exist_ok=True)
        _replace({folder / _WEIGHTS: data, folder / CARD: _card(written)})
        (folder / NOVELTY_FILE).unlink(missing_ok=True)
    return written


def add_errors(model: str | Path, name: str, errors: Mapping[str, Any]) -> None:
    """Write measured errors into a model's card, as ``errors[name]``."""
    folder = model_folder(model)
    card = read_card(folder)
    card["errors"] = {**card.get("errors", {}), name: dict(errors)}
    with _writing(folder, "card"):
        _replace({folder / CARD: _card(card)})


def add_novelty(model: str | Path, novelty: Novelty, facts: Mapping[str, Any]) -> None:
    """Write the novelty of a model into its folder, with facts for its card."""
    folder = model_folder(model)
    card = read_card(folder)
    data = novelty.dump()
    card["novelty"] = described(data, card) | dict(facts)
    with _writing(folder, "novelty"):
        _replace({folder / NOVELTY_FILE: data, folder / CARD: _card(card)})


def _card(card: Mapping[str, Any]) -> bytes:
    return (json.dumps(card, indent=1) + "\n").encode()


def _digest(config: Mapping[str, Any]) -> str:
    """Return the checksum of a configuration: changed, it gives other numbers with the weights."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


@contextmanager
def _writing(folder: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong when a part of a model folder is written into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the {what} ({error})") from error


def _replace(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them are there before the first is replaced."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    try:
        for path, data in files.items():
            temporary[path].write_bytes(data)
        for path, written in temporary.items():
            os.replace(written, path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def _read_weights(folder: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / _WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedModelError(f"{path}: cannot be read ({error.strerror})") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise DamagedModelError(
            f"{path}: checksum {found[:12]}… is not the card's {str(card['sha256'])[:12]}…; "
            "the weights are damaged, install the model again"
        )
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise DamagedModelError(f"{path}: not a safetensors file ({error})") from error


def find_device(device: str | torch.device) -> torch.device:
    """Return the device of that name; an OptionError if there is no such device here.

    Of CUDA without a number it is the present one: a thread has its own present device.
    """
    device = str(device)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    known = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if known is None:
        raise OptionError(f"device {device!r} is not known; allowed: auto, cpu, cuda, cuda:n")
    if device == "cpu":
        return torch.device("cpu")
    if int(known[1] or 0) >= torch.cuda.device_count():  # torch itself would take 256 for 0
        raise OptionError(f"device {device!r} is not on this machine; use cpu or auto")
    return torch.device("cuda", int(known[1] or torch.cuda.current_device()))
