"""What a molecular dynamics run is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

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

# What a resumed run may change: how far it goes, how it is watched, how often it is saved.
_CHANGEABLE = ("steps", "checkpoint_interval", "guards")


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
        Of the thermostat, and of the first velocities where the structure has none.
    pressure_GPa
        Of the barostat; positive compresses.
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
        Of the first velocities and of a stochastic thermostat.
    guards
        What stops the run.
    """

    steps: int
    ensemble: Ensemble = "nvt-langevin"
    temperature_K: float = 300.0
    pressure_GPa: float = 0.0
    timestep_fs: float = 0.5
    interval: int = 20
    checkpoint_interval: int = 500
    friction_per_fs: float = 0.01
    thermostat_time_fs: float = 100.0
    barostat_time_fs: float = 1000.0
    compressibility_per_GPa: float = 0.05
    seed: int = 0
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        """Refuse what is outside the allowed."""
        check.one_of("ensemble", self.ensemble, ENSEMBLES)
        check.whole("steps", self.steps, 0)
        check.whole("interval", self.interval, 1)
        check.whole("checkpoint_interval", self.checkpoint_interval, 1)
        check.whole("seed", self.seed, 0)
        check.positive("temperature_K", self.temperature_K, "300")
        check.positive("timestep_fs", self.timestep_fs, "0.5")
        check.positive("friction_per_fs", self.friction_per_fs, "0.01")
        check.positive("thermostat_time_fs", self.thermostat_time_fs, "100")
        check.positive("barostat_time_fs", self.barostat_time_fs, "1000")
        check.positive("compressibility_per_GPa", self.compressibility_per_GPa, "0.05")
        check.finite("pressure_GPa", self.pressure_GPa)
        if self.pressure_GPa != 0 and not self.constant_pressure:
            raise OptionError(
                f"pressure_GPa={self.pressure_GPa:g} has no effect on ensemble={self.ensemble!r}; "
                "choose npt-mtk or npt-berendsen"
            )

    @property
    def constant_pressure(self) -> bool:
        """Whether a barostat moves the cell."""
        return self.ensemble.startswith("npt-")

    def binding(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with its checkpoint."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in _CHANGEABLE}
