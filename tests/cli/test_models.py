import json
import pickle
import shutil

import pytest

from tdncalc import cards


@pytest.fixture
def bundled(model_folder, monkeypatch):
    monkeypatch.setattr(cards, "_bundled_root", lambda: model_folder.parent)


@pytest.fixture
def copied(model_folder, folder):
    shutil.copytree(model_folder, "copied")
    return folder / "copied"


@pytest.mark.parametrize("args", [(), ("list",)])
def test_list_names_model_elements_and_cutoff(args, tdn, bundled):
    outcome = tdn("models", *args)
    assert outcome.code == 0
    assert outcome.out.startswith("tiny\n")
    assert "elements  H B C N O F Na" in outcome.out
    assert "cutoff    5.0 Å" in outcome.out


def measured(structures, energy):
    return {
        "structures": structures,
        "energy_MAE_meV_per_atom": energy,
        "forces_MAE_meV_per_A": 2,
    }


@pytest.mark.parametrize(
    ("entries", "data"),
    [
        ({"errors": {"test": measured(1, 1)}}, "1 structure of 'test'"),
        (
            {
                "errors": {
                    "train": measured(90, 3),
                    "test": measured(2, 4),
                    "hard-test": measured(7, 1),
                }
            },
            "7 structures of 'hard-test'",
        ),
        (
            {"validation": {"valid_energy_meV_per_atom": 1, "valid_forces_meV_per_A": 2}},
            "validation data",
        ),
    ],
)
def test_list_shows_measured_errors(entries, data, tdn, copied, monkeypatch):
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | entries))
    monkeypatch.setattr(cards, "_bundled_root", lambda: copied.parent)
    expected = f"1.00 meV/atom, 2.0 meV/Å (mean absolute, {data})"
    assert expected in tdn("models", "list").out


@pytest.mark.parametrize("entries", [{"errors": {"test": 5}}, {"novelty": {}}])
def test_list_tells_of_a_card_with_odd_figures(entries, tdn, copied, monkeypatch):
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | entries))
    monkeypatch.setattr(cards, "_bundled_root", lambda: copied.parent)
    outcome = tdn("models", "list")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: model 'tiny': the figures of its card are not as this")


def test_show_tells_all_of_the_card(tdn, bundled):
    outcome = tdn("models", "show", "tiny")
    assert outcome.code == 0
    assert "description: random weights" in outcome.out
    assert "sha256: " in outcome.out
    card = json.loads(tdn("models", "show", "tiny", "--json").out)
    assert card == cards.read_card("tiny")


def test_show_rounds_what_was_measured_and_json_does_not(tdn, copied):
    figures = {"error": 24.277098082724212, "seconds": 51903.37, "steps": 40000, "tiny": 8e-06}
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | {"training": figures}))
    shown = tdn("models", "show", "copied").out
    assert "  error: 24.28\n  seconds: 51903\n  steps: 40000\n  tiny: 8e-06\n" in shown
    assert json.loads(tdn("models", "show", "copied", "--json").out)["training"] == figures


def test_show_names_what_a_card_leaves_without_a_name(tdn, copied):
    card = json.loads((copied / "card.json").read_text())
    leveled = {"leveled_meV_per_atom": {"": 0.25}}
    (copied / "card.json").write_text(json.dumps(card | leveled))
    assert "leveled_meV_per_atom:\n  unnamed: 0.25\n" in tdn("models", "show", "copied").out


def test_verify_finds_bundled_models_intact(tdn, bundled):
    outcome = tdn("models", "verify")
    assert outcome.code == 0
    assert outcome.out.startswith("tiny: intact, sha256 ")


def test_verify_goes_on_behind_a_model_that_is_not_there(tdn, bundled):
    outcome = tdn("models", "verify", "nonsense", "tiny")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: no model 'nonsense'")
    assert outcome.out.startswith("tiny: intact, sha256 ")


def flip_a_bit(folder):
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def pickle_the_weights(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": [1.0]}))


def change_the_shape(folder):
    card = json.loads((folder / "card.json").read_text())
    card["config"]["channels"] += 1
    (folder / "card.json").write_text(json.dumps(card))


def lose_the_weights(folder):
    (folder / "model.safetensors").unlink()


def lose_the_card(folder):
    (folder / "card.json").unlink()


def cut_the_card(folder):
    card = folder / "card.json"
    card.write_text(card.read_text()[:40])


DAMAGES = [
    flip_a_bit,
    pickle_the_weights,
    change_the_shape,
    lose_the_weights,
    lose_the_card,
    cut_the_card,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_verify_names_a_damaged_model(damage, tdn, copied):
    damage(copied)
    outcome = tdn("models", "verify", "copied")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "copied" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", [("energy",), ("relax",), ("md", "--steps", "1")])
def test_damaged_model_computes_nothing(damage, command, real_tdn, copied, water, files):
    damage(copied)
    before = files()
    outcome = real_tdn(*command, water, "--model", "copied")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "copied" in outcome.err
    assert files() == before


@pytest.mark.parametrize("command", ["show", "verify"])
def test_unknown_model_is_named(command, tdn):
    outcome = tdn("models", command, "nonsense")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "'nonsense'" in outcome.err
