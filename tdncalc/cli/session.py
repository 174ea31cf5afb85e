"""The model of a run, and what a summary says of where it ran."""

import contextlib
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import tdncalc
from tdncalc.cli.options import ModelOptions
from tdncalc.errors import TDNError

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator
    from tdncalc.potential import Potential


def load_calculator(options: ModelOptions) -> "TDNCalculator":
    """Load the model that the options name, ready to compute."""
    # Imported here, after every check that needs no model: torch takes seconds.
    import torch

    from tdncalc.calculator import TDNCalculator

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return TDNCalculator(options.model, options.device, options.dtype)


def provenance(potential: "Potential") -> dict[str, Any]:
    """Say what a result depends on: model and checksum, versions, device, precision, threads."""
    import torch

    return {
        "model": {"name": potential.name, "sha256": potential.card["sha256"]},
        "versions": {
            "tdncalc": tdncalc.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "ase", "numpy")},
        },
        "device": str(potential.device),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def now() -> str:
    """Give the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def naming(label: str) -> Iterator[None]:
    """Put the name of a structure before an error that does not have it."""
    try:
        yield
    except TDNError as error:
        if label in str(error):
            raise
        raise type(error)(f"{label}: {error}") from error
