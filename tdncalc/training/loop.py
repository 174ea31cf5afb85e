"""The training loop: from a configuration to a model folder, resumable at any moment."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from tdncalc.checkpoint import read_card, save_model
from tdncalc.errors import CheckpointError, DataError, OutputError, TDNError
from tdncalc.tdn import TDN
from tdncalc.training.calibration import calibrate
from tdncalc.training.config import TrainConfig
from tdncalc.training.curve import write_curve
from tdncalc.training.data import (
    GraphDataset,
    make_batch,
)
from tdncalc.training.finetuning import origin, spent
from tdncalc.training.folder import taken
from tdncalc.training.leveling import level
from tdncalc.training.levels import Levels
from tdncalc.training.optimizer import make_optimizer
from tdncalc.training.preparation import (
    check_known,
    load_data,
    make_network,
    warn_of_isolated,
    warn_of_shared,
    warn_of_unseen,
)
from tdncalc.training.processes import Processes, joined
from tdncalc.training.progress import Meter, Progress
from tdncalc.training.record import counted_structures, kept_settings, model_card
from tdncalc.training.sampling import batches_of
from tdncalc.training.schedule import energy_weight, learning_rate
from tdncalc.training.state import RunState, checkpoints, load_state, save_state
from tdncalc.training.step import Batch, LossWeights, Step, make_step
from tdncalc.training.validation import held_out_errors

__all__ = ["Progress", "TrainResult", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes
    ----------
    step, reason
        Steps done, and why it ended.
    model, validation
        Folder of the best model, and the held-out errors in its card; None before there is one.
    atoms_per_second
        Throughput of this start, of all processes together.
    """

    step: int
    reason: str
    model: Path
    validation: dict[str, float] | None
    atoms_per_second: float


def train(
    config: TrainConfig,
    *,
    run_dir: Path,
    resume: bool = False,
    device: torch.device | str = "cpu",
    observer: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a network, writing checkpoints, log, learning curve and the best model into a folder.

    Parameters
    ----------
    config
        The run.
    run_dir
        Gets ``state.pt`` (and the one before), ``log.csv``, ``learning_curve.png`` and ``model/``.
    resume
        Go on from the folder's checkpoint, if there is one; else the folder must hold none.
    device
        Where to train.
    observer
        Called after every step.
    stop
        Asked after every step; true ends the run with a checkpoint.

    Raises
    ------
    DataError, ConfigError
        The data cannot be read or do not fit the model, or training led nowhere.
    CheckpointError
        The folder holds a run and ``resume`` is false, or that run is damaged or another one, or
        another training is at work there.
    OutputError
        The folder cannot be written.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(_threads(config.optimizer.threads))
    try:
        if not resume and checkpoints(run_dir):
            raise CheckpointError(
                f"{run_dir}: holds a run; go on with it by --resume, or name another folder"
            )
        with joined(torch.device(device)) as processes:
            run = _Run(config, run_dir, processes)
            with taken(run_dir) if processes.first else nullcontext():
                run.start()
                return run.go(observer, stop or (lambda: False))
    except OSError as error:
        if isinstance(error, TDNError):
            raise
        rest = "its checkpoint is intact" if checkpoints(run_dir) else "name another folder"
        raise OutputError(
            f"{run_dir}: cannot be written ({error.strerror or error}); {rest}"
        ) from error
    finally:
        torch.set_num_threads(before)


def _threads(asked: int) -> int:
    """Return how many threads to take: no more than there are processors."""
    processors = os.cpu_count() or 1
    if asked > processors:
        logger.warning(
            "threads: %d are asked for, of %d processors; taking these", asked, processors
        )
    return min(asked, processors)


class _Run:
    """The objects of one run and what happens between its steps."""

    def __init__(self, config: TrainConfig, folder: Path, processes: Processes) -> None:
        self.config, self.options, self.folder = config, config.optimizer, folder
        self.processes, self.device = processes, processes.device
        device, names = processes.device, config.data.levels()
        train_frames, valid_frames = load_data(config, folder, processes)
        start, before = (origin(config.start), spent(config.start)) if config.start else ({}, {})
        network, self.level_fit = make_network(config, train_frames)
        references = self.level_fit.table(network.config.elements)
        self.data = GraphDataset(train_frames, network.config.cutoff, references)
        self.valid = GraphDataset(valid_frames, network.config.cutoff, references)
        check_known(valid_frames, network)
        if processes.first:
            warn_of_unseen(train_frames, network, config.start)
            warn_of_isolated(train_frames, network, config.start)
            warn_of_shared(train_frames, valid_frames)
            self.structures = counted_structures(train_frames)
        self.network = network.to(device)
        self.drops = any(isinstance(part, torch.nn.Dropout) for part in network.modules())
        levels = Levels(self.level_fit.free).to(device) if len(names) > 1 else None
        trained = [network, levels] if levels else [network]
        self.parameters = [p for module in trained for p in module.parameters()]
        fast = self.options.compiled and device.type == "cpu"
        optimizer = make_optimizer(
            trained,
            self.options.method,
            weight_decay=self.options.weight_decay,
            compiled=fast,
        )
        self.settings = kept_settings(config, network, processes)
        average = [p.detach().clone() for p in self.parameters]
        self.state = RunState(network, average, optimizer, levels)
        self.state.learned, self.state.held_out = train_frames.digest(), valid_frames.digest()
        self.state.start, self.state.spent = start, before
        weights = self._loss_weights()
        compiled = self.options.compiled and isinstance(network, TDN)
        self.step: Step = make_step(network, weights, compiled=compiled, levels=levels)

    def _loss_weights(self) -> LossWeights:
        options = self.options
        return LossWeights(
            forces=options.forces_weight,
            stress=options.stress_weight,
            huber_delta=options.huber_delta,
            energy_huber_delta=options.energy_huber_delta,
        )

    def start(self) -> None:
        if load_state(self.folder, self.state, self.settings):
            logger.info("resumed at step %d", self.state.step)

    def go(
        self, observer: Callable[[Progress], None] | None, stop: Callable[[], bool]
    ) -> TrainResult:
        state, options, processes = self.state, self.options, self.processes
        meter, saved = Meter(), time.monotonic()
        reason = "done"
        for data in self._batches():
            if state.step >= options.steps:
                break
            began = time.perf_counter()
            batch = make_batch(data, self.network, self.device)
            n_atoms = int(processes.total(len(batch.elements)))
            errors = self._descend(batch, len(batch.elements) * processes.size / n_atoms)
            state.step += 1
            seconds = time.perf_counter() - began
            state.seconds += seconds
            meter.add(n_atoms, batch.n_atoms.numel() * processes.size, errors, seconds)
            if state.step % options.validate_every == 0 or state.step == options.steps:
                self._validate(meter)
            if observer:
                observer(self._progress(meter))
            if processes.total(stop()):
                reason = "stopped"
                break
            if time.monotonic() - saved > options.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
        self._save()
        processes.wait()
        model = self.folder / "model"
        ended = reason == "done" and processes.first
        if ended and not model.is_dir():
            raise DataError(
                f"{self.folder}: the loss of the held-out structures was never a finite number, so "
                "no model was kept; take a lower learning_rate in another run folder"
            )
        if ended:
            level(model, self.data.frames, self.valid.frames, self.config.data.levels())
        if ended and isinstance(self.network, TDN):
            calibrate(model, self.data.frames, self.valid.frames, device=str(self.device))
        known = processes.first and model.is_dir()  # others would read while the first writes
        kept = read_card(model)["validation"] if known else None
        return TrainResult(state.step, reason, model, kept, meter.rate())

    def _batches(self) -> Iterator[Data]:
        config, step = self.config, self.state.step
        for indices in batches_of(config, self.data.frames, self.processes, step):
            yield self.data.batch(indices)

    def _descend(self, batch: Batch, share: float) -> tuple[float, float]:
        """Take one step of the optimizer; return mean absolute errors in eV/atom and eV/Å.

        The mean over all atoms of a batch is that over the processes of their means, each
        multiplied by its `share`: its number of atoms over the mean number.
        """
        options, state = self.options, self.state
        balance = torch.tensor([energy_weight(options, state.step), share], device=self.device)
        with self._own_chance():
            result = self.step(self.parameters, batch, balance)
        energy, forces, *gradients = self.processes.average(
            [result.energy_error, result.forces_error * share, *result.gradients]
        )
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            logger.warning("step %d: gradients are not finite, passed over", state.step)
            return float(energy), float(forces)
        scale = min(1.0, options.clip_norm / (float(norm) + 1e-12))
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient * scale
        state.optimizer.step(learning_rate(options, state.step))
        decay = min(options.ema_decay, (1 + state.step) / (10 + state.step))
        torch._foreach_lerp_(state.average, [p.detach() for p in self.parameters], 1 - decay)
        return float(energy), float(forces)

    @contextmanager
    def _own_chance(self) -> Iterator[None]:
        """Let dropout draw by the seed and the step, so that a resumed run draws the same."""
        if not self.drops:
            yield
            return
        by = np.random.SeedSequence([self.options.seed, self.state.step, self.processes.rank])
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(by.generate_state(1, np.uint64)[0]))
            yield

    def _save(self) -> None:
        if self.processes.first:
            save_state(self.folder, self.state, self.settings)

    def _progress(self, meter: "Meter") -> Progress:
        return Progress(
            step=self.state.step,
            steps=self.options.steps,
            seconds=self.state.seconds,
            atoms_per_second=meter.rate(),
            energy_error=1000 * meter.energy_error(),
            forces_error=1000 * meter.forces_error(),
            validation=self.state.rows[-1] if self.state.rows else None,
        )

    def _validate(self, meter: "Meter") -> None:
        """Measure the averaged weights, log, and keep the model if it is the best so far."""
        if not self.processes.first:
            return
        state, options = self.state, self.options
        current = [p.detach().clone() for p in self.parameters]
        self._set(state.average)
        errors = held_out_errors(
            self.step,
            self.network,
            self.parameters,
            self.valid,
            options.batch_size,
            options.final_energy_weight,
        )
        state.rows.append(
            {
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "learning_rate": learning_rate(options, state.step),
                "train_energy_meV_per_atom": 1000 * meter.energy_error(),
                "train_forces_meV_per_A": 1000 * meter.forces_error(),
                "valid_energy_meV_per_atom": 1000 * errors.energy,
                "valid_forces_meV_per_A": 1000 * errors.forces,
            }
        )
        if options.stress_weight and not math.isnan(errors.virial):
            state.rows[-1]["valid_virial_meV_per_atom"] = 1000 * errors.virial
        meter.forget_errors()
        if errors.loss < state.best:
            state.best = errors.loss
            self._save_model()
        self._set(current)
        write_curve(self.folder, state.rows)
        self._save()

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_([*self.parameters], values)

    def _save_model(self) -> None:
        card = model_card(self.config, self.state, self.processes, self.structures)
        save_model(self.folder / "model", self.network, {**card, **self._levels()})

    def _levels(self) -> dict[str, Any]:
        """Return, for the card, what each further set's energies lie above the model's."""
        if self.state.levels is None:
            return {}
        elements = self.network.config.elements
        shifts = self.state.levels.named(self.level_fit, self.config.data.levels(), elements)
        return {"levels": shifts}
