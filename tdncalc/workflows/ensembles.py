"""The ensembles: ASE's integrators where they are right, ours where ASE has none that is.

Every integrator steps atoms in place. Between two steps, all that it needs to go on lies in the
atoms, the random generator and `state()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from tdncalc.errors import OptionError
from tdncalc.model_warnings import parts
from tdncalc.workflows import velocities
from tdncalc.workflows.barostats import Berendsen
from tdncalc.workflows.martyna_tobias_klein import MartynaTobiasKlein
from tdncalc.workflows.md_constraints import removed, require_understood
from tdncalc.workflows.md_settings import Ensemble, MDSettings, Targets
from tdncalc.workflows.nose_hoover import NoseHoover
from tdncalc.workflows.subject import has_stress

State = dict[str, Any]

_FLAT = 1e-4  # Å: what files, and pymatgen's cells of right angles, round off


class Integrator(Protocol):
    """One ensemble at work on one structure, aimed at the targets of the first step."""

    def aim(self, targets: Targets) -> None:
        """Take up other targets of thermostat and barostat."""
        ...

    def step(self) -> None:
        """Move the atoms by one time step."""
        ...

    def heat(self) -> float | None:
        """Return the energy, eV, that the total has taken up so far, where it is followed.

        Total energy minus heat is constant but for the error of the time step.
        """
        ...

    def state(self) -> State:
        """Return the numbers beside the atoms that the next step depends on."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state` returned."""
        ...


class NVE:
    """Velocity Verlet."""

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._dynamics = VelocityVerlet(atoms, timestep=settings.timestep_fs * units.fs)

    def aim(self, targets: Targets) -> None:
        """Take up nothing: there is neither thermostat nor barostat."""

    def step(self) -> None:
        """Move the atoms by one time step."""
        self._dynamics.step()

    def heat(self) -> float:
        """Return zero: the total energy is constant."""
        return 0.0

    def state(self) -> State:
        """Return nothing: positions and momenta are all there is."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up nothing."""


class NVTLangevin:
    """Langevin dynamics with the center of mass at rest.

    ASE's own `fixcm` samples a wrong distribution; the constraint FixCom does not.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        if velocities.translates(atoms):
            atoms.set_constraint([*atoms.constraints, FixCom()])
        self._dynamics = Langevin(
            atoms,
            timestep=settings.timestep_fs * units.fs,
            temperature_K=settings.targets(0).temperature_K,
            friction=settings.friction_per_fs / units.fs,
            fixcm=False,
            rng=rng,
        )

    def aim(self, targets: Targets) -> None:
        """Take up another temperature."""
        self._dynamics.set_temperature(temperature_K=targets.temperature_K)

    def step(self) -> None:
        """Move the atoms by one time step."""
        self._dynamics.step()

    def heat(self) -> None:
        """Return nothing: the heat is not followed."""

    def state(self) -> State:
        """Return nothing: positions, momenta and the generator are all there is."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up nothing."""


class NVTBussi:
    """Velocity Verlet with stochastic velocity rescaling."""

    def __init__(
        self, atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator
    ) -> None:
        self._dynamics = Bussi(
            atoms,
            timestep=settings.timestep_fs * units.fs,
            temperature_K=settings.targets(0).temperature_K,
            taut=settings.thermostat_time_fs * units.fs,
            rng=rng,
        )
        # ASE counts the center of mass and the rotation, which stay at rest.
        self._dynamics.ndof = free
        self.aim(settings.targets(0))

    def aim(self, targets: Targets) -> None:
        """Take up another temperature."""
        thermal = units.kB * targets.temperature_K
        self._dynamics.target_kinetic_energy = 0.5 * self._dynamics.ndof * thermal

    def step(self) -> None:
        """Move the atoms by one time step."""
        self._dynamics.step()

    def heat(self) -> float:
        """Return the energy that the rescaling has brought in, eV."""
        return float(self._dynamics.transferred_energy)

    def state(self) -> State:
        """Return the heat."""
        return {"heat": self.heat()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the heat."""
        self._dynamics.transferred_energy = state["heat"]


_Build = Callable[[Atoms, MDSettings, int, np.random.Generator], Integrator]

_INTEGRATORS: dict[Ensemble, _Build] = {
    "nve": NVE,
    "nvt-langevin": NVTLangevin,
    "nvt-bussi": NVTBussi,
    "nvt-nose-hoover": NoseHoover,
    "npt-mtk": MartynaTobiasKlein,
    "npt-berendsen": Berendsen,
}


def free_momenta(atoms: Atoms, settings: MDSettings) -> int:
    """Return the number of momenta that an ensemble leaves free.

    Raises
    ------
    OptionError
        The structure cannot be simulated in that ensemble.
    """
    require_understood(atoms)
    if settings.ensemble == "nve" and not settings.allow_direct_forces:
        _require_gradient(atoms)
    if settings.constant_pressure:
        _require_barostat(atoms, settings)
    free = _degrees_of_freedom(atoms, settings)
    if free == 0:
        raise OptionError(_why_nothing_moves(atoms, settings))
    return free


def kept_temperature(x: Atoms, settings: MDSettings) -> float | None:
    """Return the temperature, K, of velocities that a run of `x` keeps; None where it draws them.

    Raises
    ------
    OptionError
        A constraint is not understood.
    """
    require_understood(x)
    atoms: Atoms = x.copy()
    atoms.set_momenta(atoms.get_momenta())  # as the constraints allow
    free = _degrees_of_freedom(atoms, settings)
    return velocities.temperature(atoms, free) if velocities.are_there(atoms, free) else None


def build(atoms: Atoms, settings: MDSettings, free: int, rng: np.random.Generator) -> Integrator:
    """Return the integrator of an ensemble at work on `atoms`, which have velocities."""
    return _INTEGRATORS[settings.ensemble](atoms, settings, free, rng)


def _degrees_of_freedom(atoms: Atoms, settings: MDSettings) -> int:
    return velocities.degrees_of_freedom(atoms, pushed=settings.ensemble == "nvt-langevin")


def direct_forces(atoms: Atoms) -> bool:
    """Tell whether forces are no gradient, and so may add up to a force and torque on the whole.

    Only a network tells: other calculators of ASE are taken to have an energy's forces.
    """
    return any(getattr(part, "direct_forces", False) for part in parts(atoms.calc))


def _require_gradient(atoms: Atoms) -> None:
    if direct_forces(atoms):
        raise OptionError(
            "the forces of this model are no gradient of an energy, so that nve conserves nothing; "
            "choose an ensemble with a thermostat, or give --allow-direct-forces "
            "(allow_direct_forces=True)"
        )


def _why_nothing_moves(atoms: Atoms, settings: MDSettings) -> str:
    if removed(atoms) == 3 * len(atoms):
        return "nothing can move: every atom is fixed"
    return (
        f"nothing can move: the whole is rigid, and ensemble={settings.ensemble!r} leaves it at "
        "rest; drop constraints, or choose nvt-langevin, which turns it"
    )


def _require_barostat(atoms: Atoms, settings: MDSettings) -> None:
    ensemble = settings.ensemble
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise OptionError(
            f"ensemble={ensemble!r} needs a structure that is periodic in three directions; "
            "choose nve or an nvt ensemble"
        )
    if not has_stress(atoms):
        raise OptionError(
            f"ensemble={ensemble!r} needs a stress, which the calculator does not have"
        )
    if atoms.constraints:
        raise OptionError(
            f"ensemble={ensemble!r} moves every atom with the cell; drop the constraints, or "
            "choose nve or an nvt ensemble"
        )
    along = np.abs(atoms.cell.array) > _FLAT
    if settings.cell == "anisotropic" and (along.sum(axis=1) != 1).any():
        raise OptionError(
            "cell='anisotropic' stretches along x, y and z, and needs cell vectors along them; "
            "choose isotropic or full"
        )
