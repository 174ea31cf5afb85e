"""The model of a run, and what a summary says of where it ran."""

import contextlib
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

import tdncalc
from tdncalc.cli.failures import Console, say
from tdncalc.cli.options import ModelOptions
from tdncalc.errors import OptionError, StructureError

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator
    from tdncalc.potential import Potential


# About what PyTorch takes on one core, and what a compiler takes.
_EAGER_SECONDS, _EAGER_SECONDS_PER_ATOM = 4e-3, 2.5e-4
_WORTH_COMPILING = 20.0


@dataclass(frozen=True)
class Session:
    """A loaded model.

    Attributes
    ----------
    calculator
        The model.
    started
        Time of day in UTC, ISO 8601.
    seconds_loading
        How long the model took to load.
    """

    calculator: "TDNCalculator"
    started: str
    seconds_loading: float

    @property
    def potential(self) -> "Potential":
        """The model without the memory of a calculator."""
        return self.calculator.potential

    def facts(self) -> dict[str, Any]:
        """Give what every summary begins with."""
        console = click.get_current_context().find_object(Console)
        return {
            "command_line": console.command_line if console else None,
            "started": self.started,
            "seconds_loading": self.seconds_loading,
            **provenance(self.potential),
        }


def begin(options: ModelOptions) -> Session:
    """Load the model that the options name."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    began = time.perf_counter()
    calculator = load_calculator(options)
    return Session(calculator, started, time.perf_counter() - began)


def load_calculator(options: ModelOptions) -> "TDNCalculator":
    """Load the model that the options name, ready to compute."""
    # Imported here, after every check that needs no model: torch takes seconds.
    import torch

    from tdncalc.calculator import TDNCalculator

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return TDNCalculator(
        options.model,
        options.device,
        options.dtype,
        product=options.product,
        evaluation=options.evaluation,  # type: ignore[arg-type]
        dispersion=options.dispersion,
    )


def settle(model: Session, *, evaluations: int, n_atoms: int, quiet: bool) -> None:
    """Choose how a long run is evaluated, so that all of it is evaluated alike.

    It waits for a kernel that is still to be compiled if the run is long enough to win by that.
    """
    estimate = evaluations * (_EAGER_SECONDS + _EAGER_SECONDS_PER_ATOM * n_atoms)
    if estimate > _WORTH_COMPILING:
        await_kernel(model.potential, quiet=quiet)
    else:
        model.potential.settle(wait=False)


def await_kernel(potential: "Potential", *, quiet: bool = False) -> None:
    """Evaluate by the kernel if it can be had, and say so if it is waited for."""
    if potential.compiling and not quiet:
        say("the model's kernel is being compiled, once on this machine")
    potential.settle(wait=True)


def provenance(potential: "Potential") -> dict[str, Any]:
    """Say what a result depends on: model and checksum, versions, device, precision, threads."""
    import torch

    packages = ["torch", "ase", "numpy", *(["dftd3"] if potential.dispersion else [])]
    return {
        "model": potential.identity,
        "versions": {
            "tdncalc": tdncalc.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "device": str(potential.device),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "evaluation": potential.evaluation,
    }


@contextlib.contextmanager
def naming(label: str) -> Iterator[None]:
    """Put the name of a structure before what is wrong with it."""
    try:
        yield
    except (StructureError, OptionError) as error:
        if label in str(error):
            raise
        raise type(error)(f"{label}: {error}") from error
