"""The loop of molecular dynamics: step, watch, record, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from tdncalc.errors import StructureError
from tdncalc.model_warnings import novelties, novelty_results, unlike_training
from tdncalc.workflows import ensembles, velocities
from tdncalc.workflows.constraints import gave_up, meet, not_in_stress, told_if_unmet
from tdncalc.workflows.films import pressed_vacuum
from tdncalc.workflows.guards import Watch
from tdncalc.workflows.md_checkpoint import Checkpoint, fingerprint
from tdncalc.workflows.md_files import MDFrame, RunFiles
from tdncalc.workflows.md_settings import MDSettings
from tdncalc.workflows.md_statistics import Statistics
from tdncalc.workflows.subject import (
    has_stress,
    model_of,
    require_novelty,
    require_same_energy,
    require_same_model,
    snapshot,
)


@dataclass(frozen=True)
class MDStep:
    """One step, as an observer sees it.

    Attributes
    ----------
    step
        Steps taken, with those before a resume.
    temperature_K
        Of the momenta that are free.
    max_force
        Largest force on an atom, eV/Å.
    frame
        The row of the table, at the interval.
    warning
        That atoms are unlike the model's training set; of the first such step of a call.
    """

    step: int
    temperature_K: float
    max_force: float
    frame: MDFrame | None
    warning: str | None = None


class Run:
    """A run between two steps: structure, integrator, random numbers, files and running means.

    Parameters
    ----------
    atoms
        The structure, which moves, with its calculator.
    settings
        What to run.
    files
        Where to write.
    checkpoint
        What to resume from; None begins.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, files: RunFiles, checkpoint: Checkpoint | None
    ) -> None:
        velocities.require_movable(atoms)
        require_novelty(atoms, settings.guards.max_novelty)
        self.atoms = atoms
        self.step = 0
        self.statistics = Statistics()
        self._settings = settings
        self._files = files
        self._constraints = tuple(atoms.constraints)
        self._start = fingerprint(atoms)
        self._watch = Watch(settings.guards, atoms)
        self._told = 0.5  # the novelty that was warned of, half of the first that is
        self._rng = np.random.default_rng(settings.seed)
        self._free = ensembles.free_momenta(atoms, settings)
        # Left to drift, the whole takes the heat of a thermostat; Langevin's holds it itself.
        self._stilled = settings.ensemble != "nvt-langevin" and ensembles.direct_forces(atoms)
        # Constraints take their bond lengths here, from the start, also where a run goes on.
        meet(atoms)
        with told_if_unmet():
            atoms.set_momenta(atoms.get_momenta())
        self._has_volume = bool(atoms.pbc.all()) and has_stress(atoms)
        self._has_pressure = self._has_volume and not_in_stress(atoms) is None
        # The checkpoint that begins a run comes before its first frame.
        recorded = checkpoint if checkpoint is not None and checkpoint.frames > 0 else None
        self._resumed_at = None if recorded is None else recorded.step
        if checkpoint is None:
            with told_if_unmet():
                self._prepare_velocities()
        else:
            checkpoint.require_same_run(settings, self._start)
            require_same_model("the checkpoint", checkpoint.model, model_of(atoms.calc))
            self._place(checkpoint)
        self._integrator = ensembles.build(atoms, settings, self._free, self._rng)
        self._aim()
        if checkpoint is None:
            self._forces()
            files.begin(self._checkpoint())
        else:
            self._take_up(checkpoint)
            files.go_on(checkpoint)

    def go(self, observer: Callable[[MDStep], None] | None, stop: Callable[[], bool] | None) -> str:
        """Step until something ends the run, and say what did."""
        good, fault = None, None
        while True:
            forces = None if fault else self._forces()
            if forces is not None:
                now = self._look(forces)
                fault = self._watch.trips(self.atoms, forces, now.temperature_K, self.step)
            if fault is not None:
                reason = f"guard: {fault} at step {self.step}"
                if self.statistics.n_steps == 0 and np.isfinite(now.temperature_K):
                    self.statistics.add_step(now.temperature_K)  # of the start, all there is
                self._go_back(good)
                return reason
            fresh = self.step != self._resumed_at
            if fresh:
                self._record(now)
                if observer is not None:
                    observer(now)
            end = self._end(stop)
            if end is not None or (fresh and self.step % self._settings.checkpoint_interval == 0):
                self._files.save(self._checkpoint())
            if end is not None:
                return end
            cell = self.atoms.cell.array.copy()
            good = self.atoms.positions.copy(), self.atoms.get_momenta(), cell
            fault = self._advance()

    def frame(self) -> Atoms:
        """Return the structure as it is, with its results and the user's constraints."""
        return snapshot(self.atoms, self._constraints)

    def _advance(self) -> str | None:
        """Take a step, and say why its structure cannot be evaluated, if so."""
        self.step += 1
        self._aim()
        try:
            self._integrator.step()
            if self._stilled:
                velocities.still(self.atoms)
        except StructureError as error:
            return str(error)
        except OverflowError:
            return "thermostat or barostat ran away (time constant too short for the time step?)"
        except RuntimeError as error:
            if not gave_up(error):
                raise
            return "its constraints could not be kept (time step too long?)"
        return None

    def _aim(self) -> None:
        if self._settings.ramped:
            self._integrator.aim(self._settings.targets(self.step))

    def _end(self, stop: Callable[[], bool] | None) -> str | None:
        if self.step >= self._settings.steps:
            return "done"
        return "stopped" if stop is not None and stop() else None

    def _forces(self) -> np.ndarray:
        """Return the forces (N, 3) that act against the user's constraints."""
        forces = self.atoms.get_forces(apply_constraint=False)
        for constraint in self._constraints:
            constraint.adjust_forces(self.atoms, forces)
        return np.asarray(forces)

    def _look(self, forces: np.ndarray) -> MDStep:
        kelvin = velocities.temperature(self.atoms, self._free)
        largest = float(np.linalg.norm(forces, axis=1).max())
        due = self.step % self._settings.interval == 0
        frame = self._measure(kelvin, largest) if due else None
        return MDStep(self.step, kelvin, largest, frame, self._warning())

    def _warning(self) -> str | None:
        """Warn of a pressure on vacuum, of a novelty above 1, and of one that is twice as large."""
        said = []
        if self.step == 0 and self._settings.constant_pressure:
            said.append(pressed_vacuum(self.atoms))
        found = novelties(self.atoms)
        if found is not None and found.max() > 2 * self._told:
            self._told = float(found.max())
            said.append(unlike_training(self.atoms))
        return "; ".join(filter(None, said)) or None

    def _measure(self, kelvin: float, max_force: float) -> MDFrame:
        atoms = self.atoms
        potential = float(atoms.get_potential_energy())
        kinetic = float(atoms.get_kinetic_energy())
        volume = float(atoms.get_volume()) if self._has_volume else None
        pressure = None
        if volume is not None and self._has_pressure:
            virial = -float(atoms.get_stress(apply_constraint=False)[:3].sum()) / 3
            pressure = (virial + 2 * kinetic / (3 * volume)) / units.GPa
        return MDFrame(
            step=self.step,
            time_fs=self.step * self._settings.timestep_fs,
            temperature_K=kelvin,
            potential_eV=potential,
            kinetic_eV=kinetic,
            total_eV=potential + kinetic,
            pressure_GPa=pressure,
            volume_A3=volume,
            max_force=max_force,
            novelty=novelty_results(atoms.calc).get("novelty"),
        )

    def _record(self, now: MDStep) -> None:
        self.statistics.add_step(now.temperature_K)
        if now.frame is None:
            return
        heat = self._integrator.heat()
        if heat is not None:
            self.statistics.add_conserved(now.frame.time_fs / 1000, now.frame.total_eV - heat)
        self._files.write(self.frame(), now.frame)

    def _go_back(self, good: tuple[np.ndarray, np.ndarray, np.ndarray] | None) -> None:
        """Return to the step before a fault, and leave its frame."""
        if good is None:
            return
        self.step -= 1
        self._set(*good)
        now = self._look(self._forces())
        if now.frame is None:
            frame = self._measure(now.temperature_K, now.max_force)
            self._files.write(self.frame(), frame)

    def _set(self, positions: np.ndarray, momenta: np.ndarray, cell: np.ndarray) -> None:
        self.atoms.set_cell(cell, apply_constraint=False)
        self.atoms.set_positions(positions, apply_constraint=False)
        self.atoms.set_momenta(momenta, apply_constraint=False)

    def _prepare_velocities(self) -> None:
        if not velocities.are_there(self.atoms, self._free):
            kelvin = self._settings.targets(0).temperature_K
            velocities.thermalize(self.atoms, kelvin, self._free, self._rng)

    def _checkpoint(self) -> Checkpoint:
        frames, table_bytes = self._files.sizes()
        return Checkpoint(
            step=self.step,
            positions=self.atoms.positions,
            momenta=self.atoms.get_momenta(),
            cell=self.atoms.cell.array,
            energy=float(self.atoms.get_potential_energy()),
            integrator=self._integrator.state(),
            generator=dict(self._rng.bit_generator.state),
            statistics=self.statistics.state(),
            frames=frames,
            table_bytes=table_bytes,
            settings=self._settings.binding(),
            start=self._start,
            evaluation=getattr(self.atoms.calc, "evaluation", ""),
            model=model_of(self.atoms.calc),
        )

    def _place(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        self._set(checkpoint.positions, checkpoint.momenta, checkpoint.cell)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        """Take up all but the structure, which the integrator was built on."""
        self._integrator.restore(checkpoint.integrator)
        self._rng.bit_generator.state = checkpoint.generator
        self.statistics.restore(checkpoint.statistics)
        self._forces()
        energy = float(self.atoms.get_potential_energy())
        what = f"the checkpoint of step {self.step}"
        require_same_energy(what, checkpoint.energy, energy, len(self.atoms))
