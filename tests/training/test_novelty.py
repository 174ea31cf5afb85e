import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from tdncalc.checkpoint import load_model, read_card, save_model
from tdncalc.errors import StructureError
from tdncalc.geometry.graph import edge_vectors
from tdncalc.potential import Potential
from tdncalc.training import bounds
from tdncalc.training.calibration import calibrate, judge
from tdncalc.training.data import load_frames
from tdncalc.training.novelty import _likeliest, _reduced, fit_novelty


@pytest.fixture
def frames(data_folder):
    return load_frames(["all.extxyz"], data_folder)


@pytest.fixture
def folder(network, tmp_path):
    save_model(tmp_path / "model", network, {"name": "tiny"})
    return tmp_path / "model"


def test_one_is_the_quantile_of_the_training_set(folder, frames):
    facts = calibrate(folder, frames, None, device="cpu")
    novelties = np.concatenate(
        [one["novelties"] for one in load_model(folder).evaluate([*map(frames.atoms, range(24))])]
    )
    assert (novelties > 1 + 1e-4).mean() <= 1 - facts["quantile"]
    assert novelties.max() > 0.9
    assert facts["atoms"] == len(novelties)


def test_calibration_takes_smaller_batches_where_memory_is_short(folder, frames, monkeypatch):
    calibrate(folder, frames, None, device="cpu")
    expected = load_model(folder, device="cpu")
    compute = Potential.compute

    def narrow(potential, graph, **options):
        if graph.n_structures > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(potential, graph, **options)

    def narrow_vectors(graph):
        if graph.n_structures > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return edge_vectors(graph)

    monkeypatch.setattr(Potential, "compute", narrow)
    monkeypatch.setattr(bounds, "edge_vectors", narrow_vectors)
    calibrate(folder, frames, None, device="cpu")
    found = load_model(folder, device="cpu")
    for name, bound in expected.network.bounds().items():
        torch.testing.assert_close(found.network.bounds()[name], bound)
    torch.testing.assert_close(found.novelty.floors, expected.novelty.floors, rtol=1e-3, atol=0)


def test_most_structures_of_many_atoms_have_none_above_one(folder, tmp_path):
    crystals = []
    for seed in range(20):
        atoms = bulk("Cu", cubic=True) * (3, 3, 3)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        crystals.append(atoms)
    write(tmp_path / "large.extxyz", crystals)
    facts = calibrate(folder, load_frames(["large.extxyz"], tmp_path), None, device="cpu")
    found = load_model(folder, device="cpu").evaluate(crystals)
    assert facts["quantile"] == pytest.approx(0.9 ** (1 / 108))
    assert 1 <= sum(one["novelty"] > 1 for one in found) <= 4


def test_novelty_grows_away_from_the_training_set(folder, frames):
    calibrate(folder, frames, None, device="cpu")
    potential = load_model(folder, device="cpu")
    squeezed = [frames.atoms(1) for _ in range(3)]
    for atoms, factor in zip(squeezed, (1.0, 0.85, 0.7), strict=True):
        atoms.set_cell(factor * atoms.cell, scale_atoms=True)
    known, far, further = (one["novelty"] for one in potential.evaluate(squeezed))
    assert known < 1.01 < far < further


def test_an_element_that_the_data_lack_is_as_new_as_can_be(folder, frames):
    gold_free = frames.take([i for i in range(24) if 79 not in frames.atoms(i).numbers])
    calibrate(folder, gold_free, None, device="cpu")
    (one,) = load_model(folder, device="cpu").evaluate([bulk("Au")])
    assert one["novelty"] == pytest.approx(1000)


def test_equal_atoms_are_known_and_others_are_new(folder, frames):
    gold_free = [i for i in range(24) if 79 not in frames.atoms(i).numbers]
    equal = frames.take([gold_free[0]] * 3)  # to the last bit, as of a perfect crystal
    equal.positions[:] = np.tile(bulk("Cu", cubic=True).positions, (3, 1))
    equal.cell[:], equal.pbc[:] = bulk("Cu", cubic=True).cell.array, True
    calibrate(folder, equal, equal, device="cpu")
    shaken = equal.atoms(0)
    shaken.rattle(0.1, seed=0)
    known, new = load_model(folder, device="cpu").evaluate([equal.atoms(0), shaken])
    assert known["novelty"] <= 1 + 1e-4
    assert new["novelty"] > 1


def test_atoms_without_a_second_of_their_element_end_no_run(folder, frames):
    alone = frames.take([0])
    alone.numbers[:] = 29
    alone = replace(
        alone,
        starts=np.array([0, 1]),
        **{name: getattr(alone, name)[:1] for name in ("numbers", "positions", "forces")},
    )
    calibrate(folder, alone, alone, device="cpu")
    (one,) = load_model(folder, device="cpu").evaluate([alone.atoms(0)])
    assert one["novelty"] == pytest.approx(1000)


def test_card_tells_of_the_novelty_and_the_held_out(folder, frames):
    facts = calibrate(folder, frames.take(range(0, 24, 2)), frames.take(range(1, 24, 2)))
    entry = read_card(folder)["novelty"]
    assert facts.items() <= entry.items()
    assert entry["held_out"]["structures"] == 12
    assert entry["weights_sha256"] == read_card(folder)["sha256"]
    assert judge(load_model(folder), frames.take(range(1, 24, 2))) == entry["held_out"]


def test_one_structure_has_no_ranks(folder, frames):
    found = calibrate(folder, frames, frames.take([0]))["held_out"]
    assert found["structures"] == 1
    assert found["spearman"] is None


def test_new_weights_are_calibrated_over_the_novelty_of_the_old(folder, frames):
    calibrate(folder, frames, None, device="cpu")
    card = read_card(folder)
    card["novelty"]["weights_sha256"] = "0" * 64
    (folder / "card.json").write_text(json.dumps(card))
    calibrate(folder, frames, None, device="cpu")
    assert load_model(folder, device="cpu").novelty is not None


def test_a_calibration_that_fails_leaves_the_model_as_it_was(folder, frames):
    calibrate(folder, frames, None, device="cpu")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    foreign = frames.take([0, 1])
    foreign.numbers[-1] = 92
    with pytest.raises(StructureError, match=r"structure 1 of the training set: .* U .*'tiny'"):
        calibrate(folder, foreign, None, device="cpu")
    with pytest.raises(StructureError, match=r"structure 1 of the held-out structures: "):
        calibrate(folder, frames.take([0]), foreign, device="cpu")

    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(folder, frames.take([0, 1]), None, device="cpu", observer=interrupt)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_fits_are_the_same_each_time(folder, frames):
    one, other = (fit_novelty(load_model(folder, device="cpu"), frames) for _ in range(2))
    assert one[1] == other[1]
    assert all(torch.equal(getattr(one[0], n), getattr(other[0], n)) for n in ("axes", "floors"))


def test_likeliest_weights_are_those_of_the_variance():
    rng = np.random.default_rng(0)
    squares = rng.normal(size=(20000, 4)) ** 2
    truth = np.array([1.0, 0.0, 0.3, 0.0, 0.05])
    errors = (squares @ truth[:4] + truth[4]) * rng.normal(size=20000) ** 2
    np.testing.assert_allclose(_likeliest(squares, errors), truth, atol=0.05)


def test_fewer_axes_keep_lengths():
    rng = np.random.default_rng(1)
    axes, x = rng.normal(size=(200, 200)), rng.normal(size=(500, 200))
    ratio = np.linalg.norm(x @ _reduced(axes, 0), axis=1) / np.linalg.norm(x @ axes, axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.2


def test_few_axes_are_kept_as_they_are():
    axes = np.random.default_rng(2).normal(size=(6, 6))
    assert np.array_equal(_reduced(axes, 0)[:, :6], axes)
    assert not _reduced(axes, 0)[:, 6:].any()
