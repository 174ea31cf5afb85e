"""What a molecular dynamics run is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from tdncalc.errors import OptionError
from tdncalc.workflows import _validation as check
from tdncalc.workflows.guards import Guards

Ensemble = Literal[
    "nve", "nvt-langevin", "nvt-bussi", "nvt-nose-hoover", "npt-mtk", "npt-berendsen"
]
ENSEMBLES: tuple[Ensemble, ...] = (
    "nve",
    "nvt-langevin",
    "nvt-bussi",
    "nvt-nose-hoover",
    "npt-mtk",
    "npt-berendsen",
)

CellMotion = Literal["isotropic", "anisotropic", "full"]
CELL_MOTIONS: tuple[CellMotion, ...] = ("isotropic", "anisotropic", "full")

# Of friction and time step, which Langevin dynamics is expanded in: at 1 the temperature is right
# to its noise, at 1.5 a tenth too high, at 3 fourfold.
_MAX_FRICTION = 1.0

# What a resumed run may change: how far it goes, how it is watched, how often it is saved.
_CHANGEABLE = ("steps", "checkpoint_interval", "guards", "allow_direct_forces")


@dataclass(frozen=True)
class Ramp:
    """A target that moves linearly in time, from the first step of a run to the last.

    Attributes
    ----------
    start, end
        In the unit of the setting.
    """

    start: float
    end: float

    def at(self, fraction: float) -> float:
        """Return the target when that part of the run is over."""
        return self.start + (self.end - self.start) * fraction

    def __str__(self) -> str:
        return f"{float(self.start)!r}:{float(self.end)!r}"


class Targets(NamedTuple):
    """What thermostat and barostat aim at in one step."""

    temperature_K: float
    pressure_GPa: float


@dataclass(frozen=True)
class MDSettings:
    """How to run molecular dynamics.

    Attributes
    ----------
    steps
        Steps of the whole run, with those before a resume.
    ensemble
        What is kept constant, and by which thermostat and barostat.
    temperature_K
        Of the thermostat, and of the first velocities where the structure has none; a Ramp moves
        it.
    pressure_GPa
        Of the barostat; positive compresses. A Ramp moves it.
    cell
        How npt-mtk moves the cell: all directions alike; stretched along x, y and z, for a cell
        with vectors along them; or angles as well.
    timestep_fs
        Time step.
    interval
        Steps between frames of the trajectory and rows of the table.
    checkpoint_interval
        Steps between checkpoints.
    friction_per_fs
        Of the Langevin thermostat.
    thermostat_time_fs
        Time constant of the Bussi, Nosé-Hoover and Berendsen thermostats.
    barostat_time_fs
        Time constant of the barostats. That of npt-mtk should be hundreds of time steps: a stiff
        crystal's cell oscillates some five times as fast.
    compressibility_per_GPa
        What Berendsen's barostat takes for the compressibility of the material: it errs in the
        time constant as the value errs, not in the pressure. Water 0.45, copper 0.007; the default
        lies between them.
    seed
        Of the first velocities where the structure has none, and of a stochastic thermostat.
    allow_direct_forces
        Run nve even with forces that are no gradient of an energy, and so conserve none.
    guards
        What stops the run.
    """

    steps: int
    ensemble: Ensemble = "nvt-langevin"
    temperature_K: float | Ramp = 300.0
    pressure_GPa: float | Ramp = 0.0
    cell: CellMotion = "isotropic"
    timestep_fs: float = 0.5
    interval: int = 20
    checkpoint_interval: int = 500
    friction_per_fs: float = 0.01
    thermostat_time_fs: float = 100.0
    barostat_time_fs: float = 1000.0
    compressibility_per_GPa: float = 0.05
    seed: int = 0
    allow_direct_forces: bool = False
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        """Refuse what is outside the allowed."""
        check.one_of("ensemble", self.ensemble, ENSEMBLES)
        check.whole("steps", self.steps, 0)
        check.whole("interval", self.interval, 1)
        check.whole("checkpoint_interval", self.checkpoint_interval, 1)
        check.whole("seed", self.seed, 0)
        check.positive("timestep_fs", self.timestep_fs, "0.5")
        check.positive("friction_per_fs", self.friction_per_fs, "0.01")
        check.positive("thermostat_time_fs", self.thermostat_time_fs, "100")
        check.positive("barostat_time_fs", self.barostat_time_fs, "1000")
        check.positive("compressibility_per_GPa", self.compressibility_per_GPa, "0.05")
        check.one_of("cell", self.cell, CELL_MOTIONS)
        for kelvin in _ends(self.temperature_K):
            check.positive("temperature_K", kelvin, "300")
        for pressure in _ends(self.pressure_GPa):
            check.finite("pressure_GPa", pressure)
        if not isinstance(self.guards, Guards):
            raise OptionError(
                f"guards={self.guards!r}: must be Guards, of which each limit may be None, as "
                "Guards(max_force=None)"
            )
        self._refuse_what_has_no_effect()
        product = self.friction_per_fs * self.timestep_fs
        if self.ensemble == "nvt-langevin" and product > _MAX_FRICTION:
            raise OptionError(
                f"friction_per_fs={self.friction_per_fs:g} with timestep_fs={self.timestep_fs:g}: "
                f"their product must be at most {_MAX_FRICTION:g}, or the temperature is wrong; "
                "0.01 per fs (10 per ps) is usual"
            )

    @property
    def constant_pressure(self) -> bool:
        """Whether a barostat moves the cell."""
        return self.ensemble.startswith("npt-")

    @property
    def random(self) -> bool:
        """Whether every step draws random numbers."""
        return self.ensemble in ("nvt-langevin", "nvt-bussi")

    @property
    def ramped(self) -> bool:
        """Whether a target moves."""
        return isinstance(self.temperature_K, Ramp) or isinstance(self.pressure_GPa, Ramp)

    def targets(self, step: int) -> Targets:
        """Return what the step of that number aims at; the start is step 0."""
        fraction = step / max(self.steps, 1)
        kelvin, pressure = (
            target.at(fraction) if isinstance(target, Ramp) else target
            for target in (self.temperature_K, self.pressure_GPa)
        )
        return Targets(kelvin, pressure)

    def binding(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with its checkpoint.

        The length of a run is among them only where a ramp depends on it.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        bound = {
            name: str(value) if isinstance(value, Ramp) else _plain(value)
            for name, value in values.items()
            if name not in _CHANGEABLE
        }
        return bound | ({"steps": self.steps} if self.ramped else {})

    def _refuse_what_has_no_effect(self) -> None:
        where = f"has no effect on ensemble={self.ensemble!r}; choose"
        if self.pressure_GPa != 0 and not self.constant_pressure:
            raise OptionError(f"pressure_GPa={self.pressure_GPa} {where} npt-mtk or npt-berendsen")
        if self.cell != "isotropic" and self.ensemble != "npt-mtk":
            raise OptionError(f"cell={self.cell!r} {where} npt-mtk")
        if isinstance(self.temperature_K, Ramp) and self.ensemble == "nve":
            raise OptionError(f"temperature_K={self.temperature_K} {where} one with a thermostat")


def _plain(value: object) -> object:
    """Return a number of NumPy as one of Python, which JSON can write; others as they are."""
    return value.item() if isinstance(value, np.generic) else value


def _ends(target: float | Ramp) -> tuple[float, ...]:
    return (target.start, target.end) if isinstance(target, Ramp) else (target,)
