from pathlib import Path

import pytest
import torch

from tdncalc.checkpoint import load_model, load_network, save_model
from tdncalc.geometry.graph import edge_vectors
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training.bounds import largest_norms, lowest_energies
from tdncalc.training.calibration import calibrate
from tdncalc.training.data import load_frames
from tdncalc.training.frames import Frames

CPU = torch.device("cpu")


@pytest.fixture
def frames(data_folder: Path) -> Frames:
    return load_frames(["all.extxyz"], data_folder)


def of_layers(network: TDN, frames: Frames) -> dict[str, float]:
    """Return the lowest energy by element, atom by atom, from the parts of the network."""
    potential = Potential(network, {"name": "m"}, device=CPU, dtype=torch.float32)
    lowest = dict.fromkeys(network.config.elements, float("inf"))
    for i in range(len(frames)):
        graph = potential.graph(frames.atoms(i))
        elements = network.element_indices(graph.numbers)
        edges = network._edges(elements, graph.edge_index, edge_vectors(graph).float())
        layers = list(network._layers(elements, edges))
        energies = sum(r(x[:, 0]) for x, r in zip(layers, network.readouts, strict=True))
        for element, energy in zip(elements, energies * network.config.energy_scale, strict=True):
            symbol = network.config.elements[int(element)]
            lowest[symbol] = min(lowest[symbol], float(energy))
    return lowest


def test_lowest_energies_are_those_of_the_layers(network: TDN, frames: Frames) -> None:
    network.reference_energies = torch.tensor([-100.0, 50.0], dtype=torch.float64)
    network.lowest.fill_(5.0)  # what was there before is left out
    found = lowest_energies(network, frames, device=CPU)
    assert network.lowest.tolist() == [5.0, 5.0]
    network.lowest.fill_(-torch.inf)
    expected = of_layers(network, frames)
    assert found.tolist() == pytest.approx(list(expected.values()), abs=1e-4)


def test_an_element_that_the_data_lack_has_none(network: TDN, frames: Frames) -> None:
    gold_free = frames.take([i for i in range(24) if 79 not in frames.atoms(i).numbers])
    lowest = lowest_energies(network, gold_free, device=CPU)
    assert lowest[1] == -torch.inf
    assert lowest[0].isfinite()


def test_calibration_bounds_the_model_and_changes_nothing_that_it_was_trained_on(
    network: TDN, frames: Frames, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", network, {"name": "tiny"})
    structures = [frames.atoms(i) for i in range(len(frames))]
    before = load_model(tmp_path / "model", device="cpu").evaluate(structures)
    calibrate(tmp_path / "model", frames, None, device="cpu")
    bounds = load_network(tmp_path / "model").bounds()
    assert len(bounds) == 1 + network.config.n_layers
    assert all(bound.isfinite().all() for bound in bounds.values())
    after = load_model(tmp_path / "model", device="cpu").evaluate(structures)
    for one, other in zip(before, after, strict=True):
        assert other["energies"] == pytest.approx(one["energies"], abs=1e-5)


def test_largest_norms_are_those_of_what_atoms_gather(network: TDN, frames: Frames) -> None:
    potential = Potential(network, {"name": "m"}, device=CPU, dtype=torch.float32)
    expected = torch.zeros(network.config.n_layers, 2)
    for i in range(len(frames)):
        graph = potential.graph(frames.atoms(i))
        elements = network.element_indices(graph.numbers)
        edges = network._edges(elements, graph.edge_index, edge_vectors(graph).float())
        x = network.embedding[elements]
        for layer, interaction in enumerate(network.interactions):
            norms = interaction.message(x, edges).square().sum((1, 2)).sqrt()
            for element in (0, 1):
                mine = norms[elements == element].max().item() if element in elements else 0.0
                expected[layer, element] = max(mine, expected[layer, element].item())
            x = interaction(x, elements, edges)
    assert torch.allclose(largest_norms(network, frames, device=CPU), expected, rtol=1e-5)


def test_a_model_saved_without_bounds_has_none(network: TDN) -> None:
    state = {k: v for k, v in network.state_dict().items() if k not in network.bounds()}
    for bound in network.bounds().values():
        bound.fill_(1.0)
    other = TDN(network.config, network.coupling).float()
    other.load_state_dict(state)
    lowest, *largest = other.bounds().values()
    assert (lowest == -torch.inf).all()
    assert all((bound == torch.inf).all() for bound in largest)
