"""What a training run is told: a YAML file read into frozen dataclasses, every key checked."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from tdncalc.architectures import parse_config
from tdncalc.errors import ConfigError
from tdncalc.settings import above_zero, build, mapping
from tdncalc.training.optimizer import Method

__all__ = ["DataConfig", "OptimizerConfig", "TrainConfig", "load_config"]

DATA_ROOT_VARIABLE = "TDNCALC_DATA"
_FROM_DATA = ("n_neighbors", "energy_scale")
# What training writes into the card itself.
_CARD_OF_RUN = frozenset(
    {
        *("name", "format", "architecture", "elements", "cutoff_A", "n_parameters", "config"),
        *("coupling_residual", "sha256", "validation", "training", "from", "levels"),
        *("leveled_meV_per_atom", "novelty", "errors", "selftest", "imported"),
    }
)
_NOT_IN_FILE = ("folder", "start")  # the file's place, and what it calls "from"
_POSITIVE = (
    *("steps", "batch_size", "learning_rate", "huber_delta", "energy_huber_delta"),
    *("validate_every", "threads", "clip_norm"),
)
_NOT_NEGATIVE = (
    *("energy_weight", "final_energy_weight", "forces_weight", "stress_weight", "weight_decay"),
    *("warmup_steps", "checkpoint_seconds", "seed"),
)
_SEEDS = 2**64  # that torch takes

Sets = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class DataConfig:
    """Which files to learn from.

    Attributes
    ----------
    train, valid
        Files: extxyz (also .xz, .gz), anything else that ASE reads, or packed .npz shards.
        ``FILE#key=value`` keeps only the frames whose ``info`` has that value. They stand under the
        name of their set: energies of different theory have reference levels of their own, and the
        first set to train on is the one whose level the model has. A mere list is one set.
    root
        Folder that relative paths start from, itself relative to that of the configuration, which
        it is if empty. The environment variable TDNCALC_DATA, relative to the current folder as in
        any shell, goes before it.
    valid_fraction
        In place of ``valid``: so many of the structures to train on, drawn by the run's seed, are
        held out. They tell little where the data are frames of one trajectory, which resemble each
        other.
    valid_limit
        At most this many structures, evenly spaced, are used to validate during training.
    packed
        Convert the training data once into arrays on disk, in the folder of the run, and read them
        from there: for sets that do not fit into memory.
    replay, replay_fraction
        Files of what a model was trained on before, and the part of each batch taken from them, so
        that it does not forget. They have a reference level of their own.
    """

    train: Sets
    valid: Sets = field(default_factory=dict)
    root: str = ""
    valid_fraction: float = 0.0
    valid_limit: int = 1000
    packed: bool = False
    replay: tuple[str, ...] = ()
    replay_fraction: float = 0.25

    def levels(self) -> list[str]:
        """Return the names of the reference levels: one a set, the model's first."""
        return [*self.train, *(["replay"] if self.replay else [])]

    def train_sets(self) -> Sets:
        """Return the sets to train on, those to replay last."""
        return self.train | ({"replay": self.replay} if self.replay else {})


@dataclass(frozen=True)
class OptimizerConfig:
    """How to descend.

    Attributes
    ----------
    steps
        Length of the run; a resumed run may change it.
    batch_size
        Structures in a step.
    method
        ``muon``, with Adam for what is no matrix, or ``adam``.
    learning_rate, warmup_steps, decay
        The rate climbs linearly over the warm-up, stays, and falls to a hundredth as half a cosine
        over the last ``decay`` part of the run.
    weight_decay
        In each step the matrices that mix channels shrink by so many learning rates: against
        overfitting of small sets.
    energy_weight, final_energy_weight
        Weight of the energy error (eV/atom), moving from one to the other while the rate falls.
    forces_weight, stress_weight, huber_delta, energy_huber_delta
        See :class:`tdncalc.training.step.LossWeights`.
    ema_decay
        Memory of the moving average of the weights, which is what is validated and saved.
    clip_norm
        Longer gradients are shortened to this length.
    seed
        Of the initial weights and the order of the data.
    validate_every, checkpoint_seconds
        Steps between validations; seconds between checkpoints.
    compiled, threads
        Learn by a kernel compiled for the network, or else a step that inductor compiles, in place
        of plain PyTorch; CPU threads of the run.
    """

    steps: int
    batch_size: int = 16
    method: Method = "muon"
    learning_rate: float = 5e-3
    warmup_steps: int = 500
    decay: float = 0.7
    weight_decay: float = 0.0
    energy_weight: float = 2.0
    final_energy_weight: float = 20.0
    forces_weight: float = 1.0
    stress_weight: float = 0.0
    huber_delta: float = 0.01
    energy_huber_delta: float = 0.01
    ema_decay: float = 0.999
    clip_norm: float = 10.0
    seed: int = 0
    validate_every: int = 2000
    checkpoint_seconds: float = 120.0
    compiled: bool = True
    threads: int = 1


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: the network, the data, the optimizer, and what the card will say of them.

    Attributes
    ----------
    name
        Name of the model.
    model
        Settings of the architecture's configuration, but for what is measured on the data.
    data, optimizer
        See there.
    architecture
        ``tdn``, with settings of :class:`tdncalc.tdn.TDNConfig`, or ``published``, with those of
        :class:`tdncalc.published.config.PublishedConfig`; the latter is never compiled.
    card
        Entries of the model's card: description, theory, licence, source.
    folder
        Where the configuration lies.
    start
        Model to go on from, by name or path, which starts from the current folder as with
        ``--model``; in the file ``from``. See :mod:`tdncalc.training.finetuning`.
    """

    name: str
    model: dict[str, Any]
    data: DataConfig
    optimizer: OptimizerConfig
    architecture: str = "tdn"
    card: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    start: str = ""

    def data_root(self) -> Path:
        """Return the folder that relative data paths start from."""
        named = os.environ.get(DATA_ROOT_VARIABLE)
        root = named or self.data.root
        if root.startswith("~/"):
            return Path(root).expanduser()
        return Path(root) if named else self.folder / root


def load_config(path: str | Path, start: str | None = None) -> TrainConfig:
    """Read a YAML configuration; a ConfigError names what is missing, unknown or impossible.

    Parameters
    ----------
    path
        The file.
    start
        Model to go on from, other than the file says.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(), _Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; give a YAML configuration") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a readable YAML file ({reason})") from error
    try:
        return _parse(content, path.parent, start)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a setting that stands twice, of which YAML would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set[str]()
        for key in keys:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(content: object, folder: Path, start: str | None) -> TrainConfig:
    sections = mapping(content, "the file")
    allowed = ["from", *(one.name for one in fields(TrainConfig) if one.name not in _NOT_IN_FILE)]
    if unknown := sorted(set(sections) - set(allowed)):
        raise ConfigError(f"unknown setting {unknown[0]!r}; allowed: {', '.join(allowed)}")
    named = sections.pop("from", "")
    if not isinstance(named, str):
        raise ConfigError(
            f"from is {named!r}, but must be the name of a bundled model or the path of a folder"
        )
    start = str(start or named)
    data = {
        key: _listed(value, key) for key, value in mapping(sections.get("data"), "data").items()
    }
    model = mapping(sections.get("model", {} if start else None), "model")
    if start and "architecture" in sections:
        raise ConfigError(
            f"architecture: a run that goes on from {start!r} has that model's, remove it"
        )
    architecture = sections.get("architecture", "tdn")
    if fixed := sorted(set(model) & set(_FROM_DATA)):
        raise ConfigError(f"model: {fixed[0]} is measured on the data, remove it")
    if not start:  # of a model to go on from more is known when it is loaded
        if "elements" not in model:
            raise ConfigError("model: setting 'elements' is missing")
        parse_config(architecture, model)
    parsed = {
        "data": build(DataConfig, data, "data"),
        "optimizer": build(
            OptimizerConfig, mapping(sections.get("optimizer"), "optimizer"), "optimizer"
        ),
        "model": model,
        "card": _card(sections.get("card", {})),
        "folder": folder,
        "start": start,
    }
    config = build(TrainConfig, {**sections, **parsed}, "the file")
    if not config.name.strip():
        raise ConfigError("name is empty; give the model one")
    _check_optimizer(config.optimizer)
    _check_sets(config.data)
    return config


def _card(value: object) -> dict[str, Any]:
    """Return entries for a card as JSON has them, a date as text; none that a run writes itself."""
    entries = mapping(value, "card")
    if own := sorted(_CARD_OF_RUN & set(entries)):
        raise ConfigError(f"card: {own[0]} is written by the run itself, remove it")
    plain: dict[str, Any] = json.loads(json.dumps(entries, default=str))
    return plain


def _check_optimizer(optimizer: OptimizerConfig) -> None:
    above_zero(optimizer, _POSITIVE, "optimizer")
    for name in _NOT_NEGATIVE:
        if not 0 <= getattr(optimizer, name) < float("inf"):
            raise ConfigError(
                f"optimizer: {name} is {getattr(optimizer, name)}, but must be 0 or more"
            )
    if optimizer.seed >= _SEEDS:
        raise ConfigError(f"optimizer: seed is {optimizer.seed}, but must be below 2^64")
    for name in ("decay", "ema_decay"):
        if not 0 <= getattr(optimizer, name) <= 1:
            raise ConfigError(
                f"optimizer: {name} is {getattr(optimizer, name)}, but must lie in 0 to 1"
            )


def _listed(value: object, key: str) -> object:
    """Bring the sets of files, which may be one file, a list or named lists, to named tuples."""
    if key == "replay":
        return _files(value, key)
    if key not in ("train", "valid"):
        return value
    sets = value if isinstance(value, Mapping) else {"": value}
    return {str(name): _files(files, f"{key} {name}".strip()) for name, files in sets.items()}


def _files(value: object, name: str) -> tuple[str, ...]:
    files = tuple(value) if isinstance(value, list) else (value,)
    if not files or not all(isinstance(file, str) for file in files):
        raise ConfigError(f"data: {name} must be file names, got {value!r}")
    return files


def _check_sets(data: DataConfig) -> None:
    above_zero(data, ["valid_limit"], "data")
    if bool(data.valid) == bool(data.valid_fraction) or not 0 <= data.valid_fraction < 1:
        raise ConfigError(
            "data: either valid must name files to validate on, or valid_fraction, between 0 and "
            "1, say how many of those to train on are held out"
        )
    if data.valid_fraction and data.packed:
        raise ConfigError("data: nothing is held out of packed data; name files under valid")
    if not 0 < data.replay_fraction < 1:
        raise ConfigError(
            f"data: replay_fraction is {data.replay_fraction}, but must lie between 0 and 1"
        )
    if data.replay and "replay" in data.train:
        raise ConfigError("data: the name 'replay' is kept for what is replayed")
    if unknown := sorted(set(data.valid) - set(data.train)):
        raise ConfigError(
            f"data: valid set {unknown[0]!r} is not one of those to train on "
            f"({', '.join(map(repr, data.train))}), so its level is not known"
        )
