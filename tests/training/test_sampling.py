import numpy as np
import pytest

from tdncalc.errors import ConfigError
from tdncalc.training.sampling import EpochSampler, ReplaySampler, Share


def test_the_order_of_batches_goes_on_after_a_restart() -> None:
    whole = iter(EpochSampler(10, 3, seed=4))
    first = [next(whole) for _ in range(8)]
    later = iter(EpochSampler(10, 3, seed=4, start=5))
    assert [next(later) for _ in range(3)] == first[5:]


def test_an_epoch_sees_every_structure_once() -> None:
    batches = iter(EpochSampler(12, 3, seed=0))
    seen = [index for _ in range(4) for index in next(batches)]
    assert sorted(seen) == list(range(12))


def test_the_order_is_that_of_a_permutation() -> None:
    batches = iter(EpochSampler(12, 3, seed=5))
    seen = [index for _ in range(4) for index in next(batches)]
    assert seen == np.random.default_rng([5, 0]).permutation(12).tolist()


def test_a_part_of_every_batch_is_replayed() -> None:
    batches = iter(ReplaySampler(size=20, n_replay=5, batch_size=4, fraction=0.25, seed=0))
    seen = [next(batches) for _ in range(10)]
    assert all(sum(index >= 15 for index in batch) == 1 for batch in seen)
    assert {index for batch in seen[:5] for index in batch if index >= 15} == set(range(15, 20))
    later = iter(ReplaySampler(20, 5, 4, 0.25, seed=0, start=3))
    assert next(later) == seen[3]


def test_a_batch_of_one_cannot_be_shared_with_replay() -> None:
    with pytest.raises(ConfigError, match="two structures or more"):
        ReplaySampler(20, 5, 1, 0.5, seed=0)


def test_processes_share_each_batch() -> None:
    shares = [iter(Share(EpochSampler(12, 4, seed=0), rank, 2)) for rank in range(2)]
    whole = next(iter(EpochSampler(12, 4, seed=0)))
    assert sorted(next(shares[0]) + next(shares[1])) == sorted(whole)
