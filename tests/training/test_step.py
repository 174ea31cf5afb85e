from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor
from torch_geometric.loader import DataLoader

from tdncalc.checkpoint import load_model, save_model
from tdncalc.tdn import TDN
from tdncalc.training.data import GraphDataset, load_frames, make_batch
from tdncalc.training.levels import Levels
from tdncalc.training.step import Batch, LossWeights, make_step
from tdncalc.training.validation import held_out_errors

WEIGHTS = LossWeights(forces=2.0, stress=3.0, huber_delta=0.05, energy_huber_delta=0.02)


@pytest.fixture
def batches(network: TDN, data_folder: Path) -> list[Batch]:
    dataset = GraphDataset(load_frames(["all.extxyz"], data_folder), 4.0, np.zeros((1, 119)))
    loader = DataLoader(dataset, batch_size=5)
    return [make_batch(data, network, torch.device("cpu")) for data in loader]


def in_double(batch: Batch) -> Batch:
    floating = {k: v.double() for k, v in vars(batch).items() if v.is_floating_point()}
    return replace(batch, **floating)


def parameters(network: TDN) -> list[Tensor]:
    return [parameter.detach() for parameter in network.parameters()]


def test_gradients_match_finite_differences(network: TDN, batches: list[Batch]) -> None:
    network.double()
    step = make_step(network, WEIGHTS, compiled=False)
    batch, values, weight = in_double(batches[0]), parameters(network), torch.tensor([0.7, 1.0])
    direction = [torch.randn_like(value) for value in values]
    gradients = step(values, batch, weight).gradients
    exact = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    h = 1e-5
    ahead = [v + h * d for v, d in zip(values, direction, strict=True)]
    behind = [v - h * d for v, d in zip(values, direction, strict=True)]
    losses = [step(place, batch, weight).loss for place in (ahead, behind)]
    assert float(losses[0] - losses[1]) / (2 * h) == pytest.approx(float(exact), rel=1e-6)


def test_errors_are_those_of_the_predictions(network: TDN, batches: list[Batch]) -> None:
    batch = batches[0]
    result = make_step(network, WEIGHTS, compiled=False)(parameters(network), batch, torch.ones(2))
    energies = network(batch.elements, batch.edge_index, batch.vectors).detach()
    total = torch.zeros(5).index_add(0, batch.structure, energies)
    expected = ((total - batch.energy) / batch.n_atoms).abs().mean()
    assert float(result.energy_error) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("delta", [0.01, 1e-4])
def test_the_huber_loss_of_energies_has_a_bend_of_its_own(
    network: TDN, batches: list[Batch], delta: float
) -> None:
    weights = LossWeights(forces=0.0, energy_huber_delta=delta)
    batch, values = batches[0], parameters(network)
    shifts = [-0.002, 0.002, 0.004, 0.0, 0.05]
    away = torch.tensor(shifts)
    energies = network(batch.elements, batch.edge_index, batch.vectors).detach()
    energy = torch.zeros(5).index_add(0, batch.structure, energies) + away * batch.n_atoms
    step = make_step(network, weights, compiled=False)
    loss = step(values, replace(batch, energy=energy), torch.ones(2)).loss
    expected = [e**2 / (2 * delta) if abs(e) < delta else abs(e) - delta / 2 for e in shifts]
    assert float(loss) == pytest.approx(sum(expected) / 5, rel=1e-2)


def test_structures_without_stress_do_not_enter_the_stress_loss(
    network: TDN, batches: list[Batch]
) -> None:
    step = make_step(network, WEIGHTS, compiled=False)
    batch, values, weight = batches[0], parameters(network), torch.ones(2)
    wrong = batch.strain_gradient + 1e3 * (1 - batch.has_stress)[:, None, None]
    assert batch.has_stress.tolist() == [0, 1, 0, 1, 0]
    changed = step(values, replace(batch, strain_gradient=wrong), weight).loss
    assert float(changed) == float(step(values, batch, weight).loss)


def test_the_virial_is_that_of_the_potential(
    network: TDN, data_folder: Path, tmp_path: Path
) -> None:
    frames = load_frames(["all.extxyz"], data_folder).take([1, 0, 3])
    save_model(tmp_path / "m", network, {"name": "m"})
    results = load_model(tmp_path / "m").evaluate([frames.atoms(i) for i in (0, 2)])
    stress = frames.stress.copy()
    stress[[0, 2]] = [voigt_6_to_full_3x3_stress(result["stress"]) for result in results]
    dataset = GraphDataset(replace(frames, stress=stress), 4.0, np.zeros((1, 119)))
    batch = make_batch(next(iter(DataLoader(dataset, batch_size=3))), network, torch.device("cpu"))
    step = make_step(network, WEIGHTS, compiled=False)
    result = step(parameters(network), batch, torch.ones(2))
    assert float(batch.strain_gradient.abs().max()) > 0.1
    assert float(result.virial_error) < 1e-5


@pytest.mark.parametrize(
    "channels",
    [pytest.param(6, marks=pytest.mark.slow, id="inductor"), pytest.param(8, id="kernel")],
)
def test_the_compiled_step_equals_the_eager_one_at_every_size(
    network: TDN, batches: list[Batch], channels: int
) -> None:
    config = replace(network.config, channels=channels, edge_channels=channels)
    network = TDN(config, network.coupling).float()
    levels = Levels(np.array([[False, False], [True, True]]))
    eager = make_step(network, WEIGHTS, compiled=False, levels=levels)
    compiled = make_step(network, WEIGHTS, compiled=True, levels=levels)
    values, weight = [*parameters(network), torch.rand(2, 2)], torch.ones(2)
    for index, plain in enumerate(batches[:4]):
        batch = replace(plain, level=torch.arange(len(plain.level)) % (1 + index % 2))
        one, other = eager(values, batch, weight), compiled(values, batch, weight)
        assert float(other.loss) == pytest.approx(float(one.loss), rel=1e-5)
        assert float(other.virial_error) == pytest.approx(float(one.virial_error), rel=1e-4)
        for a, b in zip(one.gradients, other.gradients, strict=True):
            assert (a - b).norm() <= 1e-4 * a.norm() + 1e-7


def test_a_compiler_that_is_wrong_is_told_and_left(
    network: TDN,
    batches: list[Batch],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def trace(function: Callable[..., list[Tensor]], *_: object) -> Callable[..., list[Tensor]]:
        def wrong(*given: Any) -> list[Tensor]:
            with torch.enable_grad():
                *results, last = function(*given)
            return [*results, 1.5 * last]

        return wrong

    monkeypatch.setattr("tdncalc.training.tracing._trace", trace)
    config = replace(network.config, channels=6, edge_channels=6)  # no kernel has so many
    network = TDN(config, network.coupling).float()
    eager = make_step(network, WEIGHTS, compiled=False)
    compiled = make_step(network, WEIGHTS, compiled=True)
    for batch in batches[:2]:
        one, other = (run(parameters(network), batch, torch.ones(2)) for run in (eager, compiled))
        for a, b in zip(one.gradients, other.gradients, strict=True):
            torch.testing.assert_close(a, b)
    *_, line = caplog.messages
    assert "gets gradients wrong: training goes on without it" in line


def test_the_held_out_loss_is_that_of_all_structures(network: TDN, data_folder: Path) -> None:
    dataset = GraphDataset(load_frames(["all.extxyz"], data_folder), 4.0, np.zeros((1, 119)))
    step, values = make_step(network, WEIGHTS, compiled=False), parameters(network)
    weight = torch.tensor([0.7, 1.0])
    found = held_out_errors(step, network, values, dataset, 1, energy_weight=0.7)
    losses = [
        float(step(values, make_batch(data, network, torch.device("cpu")), weight).loss)
        for data in DataLoader(dataset, batch_size=1)
    ]
    assert found.loss == pytest.approx(float(np.mean(losses)), rel=1e-5)
