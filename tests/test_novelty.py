import json
import shutil

import numpy as np
import pytest
import torch
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator

from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import add_novelty, load_model, load_network, save_model, verify
from tdncalc.errors import DamagedModelError, OptionError
from tdncalc.model_warnings import novelties
from tdncalc.novelty import FILE, RANK, Novelty
from tdncalc.workflows.many.relaxations import relax_many
from tdncalc.workflows.relax import relax
from tdncalc.workflows.relax_settings import RelaxSettings
from tests.structures import structure


def some_novelty(n_elements: int, n_features: int) -> Novelty:
    generator = torch.Generator().manual_seed(3)
    shapes = (n_elements, n_features, RANK), (n_elements, RANK)
    parts = [torch.randn(shape, generator=generator) for shape in shapes]
    return Novelty(*parts, torch.rand(n_elements, generator=generator))


@pytest.fixture
def folder(model_folder, tmp_path):
    """A model with a novelty."""
    copy = shutil.copytree(model_folder, tmp_path / "model")
    add_novelty(copy, some_novelty(16, 16), {"quantile": 0.999})
    return copy


def test_novelty_is_the_distance_of_the_features(folder):
    calculator = TDNCalculator(folder, device="cpu", dtype="float64")
    atoms = structure("organic box")
    atoms.calc = calculator
    atoms.get_potential_energy()
    features = calculator.get_descriptors(atoms)
    novelty = calculator.potential.novelty
    for index in range(len(atoms)):
        e = calculator.potential.elements.index(atoms.symbols[index])
        axes, offsets = novelty.axes[e].double().numpy(), novelty.offsets[e].double().numpy()
        place = features[index] @ axes - offsets
        expected = np.sqrt(place @ place + float(novelty.floors[e]))
        assert calculator.results["novelties"][index] == pytest.approx(expected, rel=1e-6)
    assert calculator.results["novelty"] == calculator.results["novelties"].max()


def test_novelty_without_waiting_is_the_same():
    novelty = some_novelty(5, 7)
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(30, 7, generator=generator)
    elements = torch.randint(0, 5, (30,), generator=generator)
    torch.testing.assert_close(
        novelty.of_any(features, elements), novelty.of(features, elements), rtol=1e-6, atol=0
    )


def test_novelty_comes_with_forces_and_by_name(folder):
    calculator = TDNCalculator(folder, device="cpu")
    atoms = structure("aspirin")
    atoms.calc = calculator
    atoms.get_forces()
    kept = calculator.results["novelty"]
    assert calculator.get_property("novelty", atoms) == kept
    calculator.get_property("novelties", atoms)[:] = 0
    assert calculator.get_property("novelties", atoms, allow_calculation=False).max() == kept
    atoms.positions[0, 0] += 0.1
    assert calculator.get_property("novelty", atoms, allow_calculation=False) is None
    assert calculator.get_property("novelty", atoms) != kept


@pytest.fixture
def other(folder, tmp_path):
    """The same model with another novelty."""
    copy = shutil.copytree(folder, tmp_path / "other")
    novelty = some_novelty(16, 16)
    add_novelty(copy, Novelty(novelty.axes.flip(1), novelty.offsets, novelty.floors), {})
    return copy


def test_a_sum_of_models_has_no_sum_of_novelties(folder, other):
    both = [TDNCalculator(one, device="cpu") for one in (folder, other)]
    atoms = structure("aspirin")
    atoms.calc = SumCalculator(both)
    atoms.get_forces()
    assert "novelty" not in atoms.calc.results
    first, second = (one.results["novelties"] for one in both)
    assert (first > second).any()
    assert (second > first).any()
    np.testing.assert_array_equal(novelties(atoms), np.maximum(first, second))
    settings = RelaxSettings(steps=1)
    frame = relax(atoms, calculator=SumCalculator([atoms.calc, both[0]]), settings=settings).atoms
    assert frame.info["novelty"] == frame.arrays["novelties"].max()
    assert frame.info["novelty"] == max(one.results["novelty"] for one in both)


def test_a_limit_of_the_novelty_holds_for_a_model_with_another_term(folder):
    atoms = structure("aspirin")
    term = LennardJones(sigma=0.1, epsilon=1e-6)
    both = SumCalculator([TDNCalculator(folder, device="cpu"), term])
    result = relax(atoms, calculator=both, settings=RelaxSettings(max_novelty=1e-3))
    assert "is above the 0.001 of max_novelty" in result.reason
    with pytest.raises(OptionError, match="SumCalculator gives none"):
        relax(atoms, calculator=SumCalculator([term]), settings=RelaxSettings(max_novelty=1e-3))


def test_batches_have_the_novelty_of_each_structure(folder):
    potential = load_model(folder, device="cpu")
    several = [structure("aspirin"), structure("organic box")]
    together = potential.evaluate(several)
    for one, atoms in zip(together, several, strict=True):
        (alone,) = potential.evaluate([atoms])
        np.testing.assert_allclose(one["novelties"], alone["novelties"], rtol=1e-5)
        assert one["novelty"] == one["novelties"].max()


def test_a_model_without_novelty_has_none_in_its_results(calculator):
    atoms = structure("aspirin")
    atoms.calc = calculator
    atoms.get_forces()
    assert "novelty" not in calculator.results
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("novelty", atoms)


def test_novelty_of_other_weights_is_refused(folder, make_network, model_folder):
    card = json.loads((folder / "card.json").read_text())
    other = save_model(folder.parent / "other", load_network(model_folder), {"name": "other"})
    other["novelty"] = card["novelty"] | {"weights_sha256": "0" * 64}
    (folder / "card.json").write_text(json.dumps(other))
    with pytest.raises(
        DamagedModelError, match=r"novelty\.safetensors: made for other weights.*calibrate"
    ):
        load_model(folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_file_is_refused_and_found_by_verify(folder, damage):
    path = folder / FILE
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[:-4])
    if damage == "flipped":
        data[-1] ^= 1
        path.write_bytes(data)
    for read in (load_model, verify):
        with pytest.raises(DamagedModelError, match=r"novelty\.safetensors"):
            read(folder)


def test_novelty_of_another_size_is_refused(folder):
    add_novelty(folder, some_novelty(16, 12), {})
    with pytest.raises(DamagedModelError, match="not of this network"):
        load_model(folder)


def test_new_weights_drop_the_novelty_of_the_old(folder):
    save_model(folder, load_network(folder), json.loads((folder / "card.json").read_text()))
    assert not (folder / FILE).exists()
    assert load_model(folder, device="cpu").novelty is None


def test_structures_relaxed_together_have_it_too(folder):
    calculator = TDNCalculator(folder, device="cpu")
    several = [structure("aspirin"), structure("water")]
    settings = RelaxSettings(steps=2)
    for outcome in relax_many(several, calculator=calculator, settings=settings):
        final = outcome.result.atoms
        (alone,) = calculator.potential.evaluate([final])
        np.testing.assert_allclose(final.arrays["novelties"], alone["novelties"], rtol=1e-4)
        assert final.info["novelty"] == final.arrays["novelties"].max()


def test_a_limit_of_it_stops_one_of_several(folder):
    several = [structure("aspirin"), structure("water")]
    settings = RelaxSettings(max_novelty=1e-3)
    found = [*relax_many(several, calculator=TDNCalculator(folder), settings=settings)]
    assert [one.result.reason.split(" novelty")[0] for one in found] == ["guard: the"] * 2
