import threading

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from tdncalc import RelaxSettings, relax, relax_many

SHORT = RelaxSettings(fmax=0.5, steps=6)


@pytest.fixture
def calculator(trio, make_calculator):
    made = make_calculator()
    made.potential = trio.kernel
    return made


@pytest.fixture(params=[1, 2])
def threads(request):
    """With one thread all are one crowd; with more there are two, which take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def given():
    base = [molecule(name) for name in ("CH3CH2OH", "C6H6", "H2O")] * 15
    for seed, atoms in enumerate(base):
        atoms.rattle(0.05, seed=seed)
    return base


@pytest.mark.parametrize("cell", ["fixed", "full"])
def test_kernel_relaxes_many_on_the_paths_that_they_take_alone(cell, calculator, threads, given):
    settings = RelaxSettings(fmax=0.5, steps=6, cell=cell)
    if cell == "full":
        given = [bulk("Si", cubic=True), bulk("Cu") * (2, 2, 1), bulk("Si") * 2] * 6
    for seed, atoms in enumerate(given):
        atoms.rattle(0.05, seed=seed)
    outcomes = list(relax_many(given, calculator=calculator, settings=settings))
    assert sorted(outcome.index for outcome in outcomes) == list(range(len(given)))
    for outcome in outcomes[::5]:
        alone = relax(given[outcome.index], calculator=calculator, settings=settings)
        assert outcome.result.steps == alone.steps
        assert outcome.result.energy == pytest.approx(alone.energy, abs=2e-3)
        np.testing.assert_allclose(outcome.result.atoms.positions, alone.atoms.positions, atol=2e-3)


def test_order_and_results_are_the_same_every_time(calculator, threads, given):
    runs = [list(relax_many(given, calculator=calculator, settings=SHORT)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert one.index == other.index
        np.testing.assert_array_equal(one.result.atoms.positions, other.result.atoms.positions)


def test_bad_structures_do_not_keep_others_from_coming(calculator, threads, given):
    bad = [Atoms("U", [[0, 0, 0]])] * 40
    outcomes = list(relax_many([*bad, *given], calculator=calculator, settings=SHORT))
    assert sum(outcome.result is not None for outcome in outcomes) == len(given)
    assert sum(outcome.error is not None for outcome in outcomes) == len(bad)


@pytest.mark.parametrize("end", ["all", "stop", "close", "error"])
def test_no_thread_is_left_behind(calculator, threads, given, end, monkeypatch):
    before, seen = threading.active_count(), []
    given = [Atoms("O", [[0, 0, 0]]), *given]  # the first is done at once
    many = relax_many(
        given,
        calculator=calculator,
        settings=SHORT,
        stop=lambda: end == "stop" and len(seen) > 0,
    )
    if end == "error":
        monkeypatch.setattr(calculator.potential, "compute", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(many)
    elif end == "close":
        next(many)
        many.close()
    else:
        for outcome in many:
            seen.append(outcome)
        assert (len(seen) < len(given)) == (end == "stop")
    assert threading.active_count() == before
