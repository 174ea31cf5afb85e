import functools
import operator
from pathlib import Path

import numpy as np
import pytest

from tdncalc.calculator import TDNCalculator
from tdncalc.checkpoint import (
    DEFAULT_MODEL,
    bundled_models,
    load_model,
    model_folder,
    read_card,
    verify,
)
from tdncalc.training.data import load_frames
from tdncalc.training.evaluate import evaluate
from tests.central_differences import derivatives, shifted
from tests.structures import structure
from tests.transformations import CHANGES

NAMES = bundled_models()
# What each is to reach, by the entries of its card: at most, but a rank correlation at least.
ORGANIC = {
    "errors.test.energy_MAE_meV_per_atom": 0.8,
    "errors.test.forces_MAE_meV_per_A": 25,
    "physics.geometries.rmsd_median_A": 0.03,
    "physics.geometries.bond_length_MAE_A": 0.003,
    "physics.conformer_energies.spearman_median": 0.95,
    "physics.dimers.at_minimum_kcal_MAE": 0.4,
    "physics.torsions.MAE_kcal": 0.3,
}
AIMS = {
    "organic": ORGANIC,
    "organic-large": ORGANIC,
    "organic-small": {
        "errors.test.energy_MAE_meV_per_atom": 1.6 * 0.8,
        "errors.test.forces_MAE_meV_per_A": 1.6 * 25,
    },
    "metals": {
        **{
            f"errors.test.by_element.{symbol}.forces_MAE_meV_per_A": most
            for symbol, most in [("Cu", 15), ("Ni", 15), ("Li", 15), ("Ge", 60), ("Si", 60)]
        },
        "errors.mlearn-Mo.forces_MAE_meV_per_A": 150,
        "physics.solids.a_largest_percent": 0.5,
        "physics.solids.B_largest_percent": 5,
        **{f"physics.solids.{name}_largest_percent": 10 for name in ("C11", "C12", "C44")},
        "physics.solids.vacancy_largest_percent": 5,
    },
}


def sample(name):
    """The file of the sample of the test set that is beside a bundled model."""
    (path,) = model_folder(name).glob("sample.*")
    return path.absolute()


def from_sample(name):
    """A structure with forces that the model has not seen."""
    frames = load_frames([str(sample(name))], Path())
    sizes = np.diff(frames.starts)
    moved = [np.abs(part).max() > 0.1 for part in np.split(frames.forces, frames.starts[1:-1])]
    return frames.atoms(int(np.flatnonzero(moved & (sizes <= 100))[0]))


@pytest.mark.parametrize("name", NAMES)
def test_bundled_model_is_whole(name):
    verify(name)
    card = read_card(name)
    assert card["name"] == name
    assert {"description", "theory", "licence", "source", "errors", "training"} <= set(card)


@pytest.mark.parametrize("name", AIMS)
def test_card_tells_what_was_not_reached(name):
    card = read_card(name)
    missed = {}
    for path, aim in AIMS[name].items():
        reached = functools.reduce(operator.getitem, path.split("."), card)
        if reached < aim if "spearman" in path else reached > aim:
            missed[path] = {"reached": float(f"{reached:.4g}"), "aim": pytest.approx(aim)}
    stated = {path: dict(entry) for path, entry in card.get("not_reached", {}).items()}
    assert all(entry.pop("next") for entry in stated.values())
    assert stated == missed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_energy_is_invariant(name, dtype):
    potential, atoms = load_model(name, device="cpu", dtype=dtype), from_sample(name)
    before, *after = potential.evaluate([atoms, *(change(atoms) for change in CHANGES.values())])
    precision = {"rel": 1e-10} if dtype == "float64" else {"abs": 1e-6 * len(atoms)}
    for changed in after:
        assert changed["energy"] == pytest.approx(before["energy"], **precision)


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_minus_the_derivative_of_the_energy(name):
    potential, atoms = load_model(name, device="cpu", dtype="float64"), from_sample(name)
    forces = potential.evaluate([atoms])[0]["forces"]
    (slope,) = derivatives(potential, [shifted(atoms, forces / np.linalg.norm(forces))])
    assert slope == pytest.approx(-np.linalg.norm(forces), rel=1e-7)


@pytest.mark.skipif(DEFAULT_MODEL not in NAMES, reason="no model is bundled")
def test_bundled_model_is_the_default():
    atoms = structure("aspirin")
    atoms.calc = TDNCalculator()
    assert atoms.calc.potential.name == DEFAULT_MODEL
    assert np.abs(atoms.get_forces()).max() < 20.0


@pytest.mark.parametrize("name", NAMES)
def test_bundled_model_has_the_errors_of_its_card(name):
    """Of a sample of its test set; examples/training/bundle_sample.py says how both are made."""
    assert sample(name).stat().st_size < 100_000
    report = evaluate(load_model(name, device="cpu", evaluation="eager"), [sample(name)])
    expected = read_card(name)["errors"]["sample"]
    assert report["structures"] == expected["structures"]
    for error in (key for key in report if "_MAE_" in key or "_RMSE_" in key):
        assert report[error] == pytest.approx(expected[error], rel=2e-3), error


@pytest.mark.parametrize("name", NAMES)
def test_novelty_tells_the_strange_from_the_ordinary(name):
    novelty = read_card(name)["novelty"]
    held_out = novelty["held_out"]
    n_atoms = load_frames([str(sample(name))], Path()).n_atoms()
    expected = float((1 - novelty["quantile"] ** n_atoms).mean())  # have an atom above 1
    chance = 3 * (expected * (1 - expected) / held_out["structures"]) ** 0.5  # of few, more may be
    assert held_out["above_1"] < expected + chance
    assert held_out["spearman"] > 0.5
    potential = load_model(name, device="cpu")
    atoms = from_sample(name)
    crushed = atoms.copy()
    crushed.set_cell(0.8 * atoms.cell.array)
    crushed.positions *= 0.8
    ordinary, strange = potential.evaluate([atoms, crushed])
    assert np.quantile(ordinary["novelties"], 0.98) < 1 < strange["novelty"]
