"""The training loop: from a configuration to a model folder, resumable at any moment."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from tdncalc.architectures import Network
from tdncalc.checkpoint import save_model
from tdncalc.errors import CheckpointError, OutputError, TDNError
from tdncalc.tdn import TDN
from tdncalc.training.config import TrainConfig
from tdncalc.training.curve import write_curve
from tdncalc.training.data import EpochSampler, GraphDataset, load_sets
from tdncalc.training.levels import Levels
from tdncalc.training.optimizer import make_optimizer
from tdncalc.training.preparation import check_known, make_network
from tdncalc.training.progress import Meter, Progress
from tdncalc.training.schedule import energy_weight, learning_rate
from tdncalc.training.state import RunState, load_state, save_state
from tdncalc.training.step import Batch, LossWeights, Step, make_step

__all__ = ["Progress", "TrainResult", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: steps done, why, the folder of the best model, and its validation row."""

    step: int
    reason: str
    model: Path
    validation: dict[str, float] | None


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
        The data cannot be read or do not fit the model.
    CheckpointError
        The folder holds a run and ``resume`` is false, or that run is damaged or another one.
    OutputError
        The folder cannot be written.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(config.optimizer.threads)
    try:
        run = _Run(config, run_dir, torch.device(device))
        run.start(resume)
        return run.go(observer, stop or (lambda: False))
    except OSError as error:
        if isinstance(error, TDNError):
            raise
        reason = error.strerror or error
        raise OutputError(
            f"{run_dir}: cannot be written ({reason}); its checkpoint is intact"
        ) from error
    finally:
        torch.set_num_threads(before)


class _Run:
    """The objects of one run and what happens between its steps."""

    def __init__(self, config: TrainConfig, folder: Path, device: torch.device) -> None:
        self.config, self.options, self.folder, self.device = (
            config,
            config.optimizer,
            folder,
            device,
        )
        root, names = config.data_root(), list(config.data.train)
        train_frames = load_sets(config.data.train, names, root)
        valid_frames = load_sets(config.data.valid, names, root).evenly(config.data.valid_limit)
        network, self.level_fit = make_network(config, train_frames)
        references = self.level_fit.table(network.config.elements)
        self.data = GraphDataset(train_frames, network.config.cutoff, references)
        self.valid = GraphDataset(valid_frames, network.config.cutoff, references)
        check_known(valid_frames, network)
        self.network = network.to(device)
        levels = Levels(self.level_fit.free).to(device) if len(names) > 1 else None
        trained = [network, levels] if levels else [network]
        self.parameters = [p for module in trained for p in module.parameters()]
        optimizer = make_optimizer(trained, self.options.method)
        average = [p.detach().clone() for p in self.parameters]
        self.state = RunState(network, average, optimizer, levels)
        weights = self._loss_weights()
        compiled = self.options.compiled and isinstance(network, TDN)
        self.step: Step = make_step(network, weights, compiled=compiled, levels=levels)
        self.exact_step: Step = make_step(network, weights, compiled=False, levels=levels)

    def _loss_weights(self) -> LossWeights:
        options = self.options
        return LossWeights(
            forces=options.forces_weight,
            stress=options.stress_weight,
            huber_delta=options.huber_delta,
        )

    def start(self, resume: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not resume and (self.folder / "state.pt").exists():
            raise CheckpointError(
                f"{self.folder}: holds a run; go on with it by --resume, or name another folder"
            )
        if load_state(self.folder, self.state, self.fingerprint()):
            logger.info("resumed at step %d", self.state.step)

    def fingerprint(self) -> str:
        """Return a digest of the settings a resumed run may not change."""
        free = {"steps", "checkpoint_seconds", "validate_every", "compiled", "threads"}
        options = {k: v for k, v in asdict(self.options).items() if k not in free}
        kept = [self.network.config.to_dict(), self.config.data.train, options]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def go(
        self, observer: Callable[[Progress], None] | None, stop: Callable[[], bool]
    ) -> TrainResult:
        state, options = self.state, self.options
        meter, saved = Meter(), time.monotonic()
        reason = "done"
        for data in self._batches():
            if state.step >= options.steps:
                break
            began = time.perf_counter()
            batch = make_batch(data, self.network, self.device)
            errors = self._descend(batch)
            state.step += 1
            state.seconds += time.perf_counter() - began
            meter.add(
                len(batch.elements), batch.n_atoms.numel(), errors, time.perf_counter() - began
            )
            if state.step % options.validate_every == 0 or state.step == options.steps:
                self._validate(meter)
            if observer:
                observer(self._progress(meter))
            if stop():
                reason = "stopped"
                break
            if time.monotonic() - saved > options.checkpoint_seconds:
                save_state(self.folder, state, self.fingerprint())
                saved = time.monotonic()
        save_state(self.folder, state, self.fingerprint())
        return TrainResult(
            state.step, reason, self.folder / "model", state.rows[-1] if state.rows else None
        )

    def _batches(self) -> Iterable[Data]:
        options = self.options
        sampler = EpochSampler(
            len(self.data.frames), options.batch_size, options.seed, self.state.step
        )
        loader: Iterable[Data] = DataLoader(self.data, batch_sampler=sampler)
        return loader

    def _descend(self, batch: Batch) -> tuple[float, float]:
        """Take one step of the optimizer; return mean absolute errors in eV/atom and eV/Å."""
        options, state = self.options, self.state
        weight = torch.tensor(energy_weight(options, state.step), device=self.device)
        result = self.step(self.parameters, batch, weight)
        norm = torch.nn.utils.get_total_norm(result.gradients)
        if not torch.isfinite(norm):
            logger.warning("step %d: gradients are not finite, passed over", state.step)
            return float(result.energy_error), float(result.forces_error)
        scale = min(1.0, options.clip_norm / (float(norm) + 1e-12))
        for parameter, gradient in zip(self.parameters, result.gradients, strict=True):
            parameter.grad = gradient * scale
        state.optimizer.step(learning_rate(options, state.step))
        decay = min(options.ema_decay, (1 + state.step) / (10 + state.step))
        torch._foreach_lerp_(state.average, [p.detach() for p in self.parameters], 1 - decay)
        return float(result.energy_error), float(result.forces_error)

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
        state = self.state
        current = [p.detach().clone() for p in self.parameters]
        self._set(state.average)
        energy, forces, virial = self._errors()
        state.rows.append(
            {
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "learning_rate": learning_rate(self.options, state.step),
                "train_energy_meV_per_atom": 1000 * meter.energy_error(),
                "train_forces_meV_per_A": 1000 * meter.forces_error(),
                "valid_energy_meV_per_atom": 1000 * energy,
                "valid_forces_meV_per_A": 1000 * forces,
            }
        )
        if self.options.stress_weight:
            state.rows[-1]["valid_virial_meV_per_atom"] = 1000 * virial
        meter.forget_errors()
        loss = self.options.final_energy_weight * energy + self.options.forces_weight * forces
        loss += self.options.stress_weight * virial
        if loss < state.best:
            state.best = loss
            self._save_model(state.rows[-1])
        self._set(current)
        write_curve(self.folder, state.rows)
        save_state(self.folder, state, self.fingerprint())

    def _errors(self) -> tuple[float, float, float]:
        """Return mean absolute errors on the validation set in eV/atom, eV/Å and eV/atom."""
        weight = torch.tensor(1.0, device=self.device)
        energy = forces = virial = atoms = known = 0.0
        self.network.eval()  # no dropout
        for data in DataLoader(self.valid, batch_size=self.options.batch_size):
            batch = make_batch(data, self.network, self.device)
            result = self.exact_step(self.parameters, batch, weight)
            energy += float(result.energy_error) * batch.n_atoms.numel()
            forces += float(result.forces_error) * len(batch.elements)
            atoms += len(batch.elements)
            virial += float(result.virial_error) * float(batch.has_stress.sum())
            known += float(batch.has_stress.sum())
        self.network.train()
        return energy / len(self.valid.frames), forces / atoms, virial / max(known, 1)

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_([*self.parameters], values)

    def _save_model(self, row: dict[str, float]) -> None:
        training = {
            "seconds": row["seconds"],
            "steps": self.state.step,
            "structures": len(self.data.frames),
            "machine": f"{platform.machine()}, {self.options.threads} thread, {self.device.type}",
            "torch": torch.__version__,
        }
        card = {
            "name": self.config.name,
            **self.config.card,
            "validation": row,
            "training": training,
            **self._levels(),
        }
        save_model(self.folder / "model", self.network, card)

    def _levels(self) -> dict[str, Any]:
        """Return, for the card, what each further set's energies lie above the model's, in eV."""
        if self.state.levels is None:
            return {}
        learned = self.state.levels.table.detach() * self.state.levels.free
        shifts = self.level_fit.shifts + learned.double().cpu().numpy()
        return {
            "levels": {
                name: dict(zip(self.network.config.elements, row.tolist(), strict=True))
                for name, row in list(zip(self.config.data.train, shifts, strict=True))[1:]
            }
        }


def make_batch(data: Data, network: Network, device: torch.device) -> Batch:
    """Turn a batch of PyG's loader into what the loss needs."""
    data = data.to(device)
    return Batch(
        elements=network.element_indices(data.z),
        edge_index=data.edge_index,
        vectors=data.edge_vectors,
        structure=data.batch,
        n_atoms=torch.bincount(data.batch, minlength=data.num_graphs).float(),
        energy=(data.energy - data.reference_energy).float(),
        forces=data.forces,
        strain_gradient=data.strain_gradient,
        has_stress=data.has_stress,
        level=data.level,
    )
