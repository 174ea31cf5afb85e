"""Tensor decomposition network potentials for molecules and crystals.

The public names are imported on first use: ``import tdncalc`` loads neither torch nor ASE.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator
    from tdncalc.cards import bundled_models, read_card
    from tdncalc.checkpoint import load_model
    from tdncalc.errors import (
        CheckpointError,
        ConfigError,
        DamagedModelError,
        DataError,
        ModelNotFoundError,
        OptionError,
        OutOfMemoryError,
        OutputError,
        StructureError,
        TDNError,
    )
    from tdncalc.potential import Potential
    from tdncalc.workflows.many.dynamics import MDOutcome, run_md_many
    from tdncalc.workflows.many.relaxations import RelaxOutcome, relax_many
    from tdncalc.workflows.md import Guards, MDFiles, MDResult, MDSettings, Ramp, run_md
    from tdncalc.workflows.relax import RelaxResult, RelaxSettings, relax
    from tdncalc.workflows.wall_time import WallTime

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DamagedModelError",
    "DataError",
    "Guards",
    "MDFiles",
    "MDOutcome",
    "MDResult",
    "MDSettings",
    "ModelNotFoundError",
    "OptionError",
    "OutOfMemoryError",
    "OutputError",
    "Potential",
    "Ramp",
    "RelaxOutcome",
    "RelaxResult",
    "RelaxSettings",
    "StructureError",
    "TDNCalculator",
    "TDNError",
    "WallTime",
    "__version__",
    "bundled_models",
    "load_model",
    "read_card",
    "relax",
    "relax_many",
    "run_md",
    "run_md_many",
]

_NAMES_BY_MODULE = {
    "calculator": ["TDNCalculator"],
    "cards": ["bundled_models", "read_card"],
    "checkpoint": ["load_model"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "potential": ["Potential"],
    "workflows.many.dynamics": ["MDOutcome", "run_md_many"],
    "workflows.many.relaxations": ["RelaxOutcome", "relax_many"],
    "workflows.md": ["Guards", "MDFiles", "MDResult", "MDSettings", "Ramp", "run_md"],
    "workflows.relax": ["RelaxResult", "RelaxSettings", "relax"],
    "workflows.wall_time": ["WallTime"],
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: any public object
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'tdncalc' has no attribute {name!r}")
    value = getattr(import_module(f"tdncalc.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
