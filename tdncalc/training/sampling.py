"""In which order structures are learned from, and which of them together."""

from collections.abc import Iterable, Iterator

import numpy as np

from tdncalc.errors import ConfigError
from tdncalc.training.config import TrainConfig
from tdncalc.training.frames import Frames
from tdncalc.training.processes import Processes

__all__ = ["EpochSampler", "ReplaySampler", "Share", "batches_of"]


def batches_of(
    config: TrainConfig, frames: Frames, processes: Processes, start: int
) -> Iterable[list[int]]:
    """Return this process's batches of a run's training set, from a step on."""
    options, data = config.optimizer, config.data
    size, at_once = len(frames), options.batch_size * processes.size
    batches: Iterable[list[int]]
    if data.replay:
        n_replay = int((frames.level == len(data.train)).sum())
        fraction = data.replay_fraction
        batches = ReplaySampler(size, n_replay, at_once, fraction, options.seed, start)
    else:
        batches = EpochSampler(size, at_once, options.seed, start)
    return Share(batches, processes.rank, processes.size)


class ReplaySampler:
    """Batches of indices of which a fixed part is of structures to replay, the last ones of a set.

    Parameters
    ----------
    size, n_replay
        Number of structures in all, and of those to replay.
    batch_size
        Structures in a batch.
    fraction
        Part of a batch that is replayed, at least one structure and not all.
    seed, start
        See :class:`EpochSampler`.
    """

    def __init__(
        self, size: int, n_replay: int, batch_size: int, fraction: float, seed: int, start: int = 0
    ) -> None:
        replayed = min(max(1, round(fraction * batch_size)), batch_size - 1)
        if replayed < 1:
            raise ConfigError("optimizer: a batch with replay needs two structures or more")
        self.n_new = size - n_replay
        self.new = EpochSampler(self.n_new, batch_size - replayed, seed, start)
        self.old = EpochSampler(n_replay, replayed, seed + 1, start)

    def __iter__(self) -> Iterator[list[int]]:
        for new, old in zip(self.new, self.old, strict=False):
            yield [*new, *(self.n_new + index for index in old)]


class EpochSampler:
    """Batches of indices, shuffled anew each epoch, the same for the same seed and epoch.

    Parameters
    ----------
    size
        Number of structures.
    batch_size
        Structures in a batch; a last smaller batch is left out.
    seed
        Of the order.
    start
        Number of batches to pass over, so that a resumed run goes on where it stopped.
    """

    def __init__(self, size: int, batch_size: int, seed: int, start: int = 0) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self.size // self.batch_size
        epoch, skip = divmod(self.start, per_epoch)
        while True:
            # four bytes a structure, the same order as of numpy's permutation
            order = np.arange(self.size, dtype=np.uint32)
            np.random.default_rng([self.seed, epoch]).shuffle(order)
            for batch in range(skip, per_epoch):
                yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()
            epoch, skip = epoch + 1, 0


class Share:
    """One process's part of every batch.

    Parameters
    ----------
    batches
        Of all processes together.
    rank, size
        Which process this is, and how many there are.
    """

    def __init__(self, batches: Iterable[list[int]], rank: int, size: int) -> None:
        self.batches, self.rank, self.size = batches, rank, size

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch[self.rank :: self.size]
