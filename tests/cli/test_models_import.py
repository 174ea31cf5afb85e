"""From a checkpoint of the published code to energies and dynamics, by commands alone."""

import json

import pytest
import torch
from ase import units
from ase.build import molecule
from ase.data import atomic_numbers
from ase.io import write

from tdncalc.checkpoint import load_network
from tdncalc.official.settings import REFERENCES
from tests.official.checkpoint import random_state, save

# shown, as outside of tests
pytestmark = pytest.mark.filterwarnings("always:model 'm", "always:'metals' means the bundled")

ELEMENTS = ("--elements", "H C O")


@pytest.fixture
def checkpoint(folder):
    """A file that says nothing of how its forces were trained."""
    return save(folder / "best.pth", random_state())


@pytest.fixture
def averaged(folder):
    state = random_state()
    shadow = [torch.from_numpy(v) for name, v in state.items() if ".cp_tp." not in name]
    return save(folder / "epoch.pth", state, ema_state_dict={"shadow_params": shadow})


@pytest.fixture
def model(checkpoint, real_tdn):
    assert real_tdn("models", "import", checkpoint, "-o", "model", *ELEMENTS).code == 0
    write("water.xyz", molecule("H2O"))
    return "model"


def test_import_says_what_it_made_and_what_fails(checkpoint, real_tdn):
    outcome = real_tdn("models", "import", checkpoint, "-o", "model", *ELEMENTS)
    assert outcome.code == 0
    assert "2 blocks, degree 1, 8 channels, direct forces, rank 5" in outcome.out
    assert outcome.out.rstrip().endswith("wrote model")
    assert outcome.err.startswith("Warning: model 'model' (measured when it was imported): ")
    assert "where an atom crosses the cutoff" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert real_tdn("models", "verify", "model").code == 0


def test_options_end_in_the_card(checkpoint, real_tdn):
    options = ["--cutoff", "5", "--forces", "gradient", "--max-neighbors", "0", "--n-avg", "30"]
    options += ["--product", "exact-cp", "--references", "pubchemqcr", "--energy", "per-atom"]
    outcome = real_tdn("models", "import", checkpoint, "-o", "model", *options, "--json")
    config = json.loads(outcome.out)["config"]
    assert (config["cutoff"], config["forces"], config["max_neighbors"]) == (5.0, "gradient", None)
    assert (config["n_avg"], config["product"], config["energy"]) == (30.0, "exact-cp", "per-atom")
    assert config["elements"][:3] == ["H", "Be", "B"]


def test_a_folder_with_the_name_of_a_bundled_model_is_told_how_to_name(model, checkpoint, real_tdn):
    outcome = real_tdn("models", "import", checkpoint, "-o", "metals", *ELEMENTS)
    meant = "'metals' means the bundled model; for the folder metals here say './metals'\n"
    assert outcome.err.startswith(f"Warning: {meant}")
    energy = ("energy", "water.xyz", "--model")
    assert real_tdn(*energy, "metals").err.startswith(f"Warning: {meant}")
    assert meant not in real_tdn(*energy, "./metals").err
    changed = real_tdn("models", "calibrate", "metals", "water.xyz")
    assert changed.code == 2
    assert "give the folder of a model of yours, or './metals' for the folder here" in changed.err


def test_averaged_weights_are_pointed_out(averaged, real_tdn):
    outcome = real_tdn("models", "import", averaged, "-o", "raw", *ELEMENTS)
    assert "holds averaged weights too" in outcome.err
    outcome = real_tdn("models", "import", averaged, "-o", "ema", "--weights", "ema", *ELEMENTS)
    assert "averaged" not in outcome.err


def test_a_model_is_not_replaced_unless_told(model, checkpoint, real_tdn):
    outcome = real_tdn("models", "import", checkpoint, "-o", model, *ELEMENTS)
    assert outcome.code == 1
    assert outcome.err == "Error: model: holds a model already; give --overwrite to replace it\n"
    again = real_tdn("models", "import", checkpoint, "-o", model, "--overwrite", *ELEMENTS)
    assert again.code == 0


def test_a_file_is_no_folder_to_make(checkpoint, folder, real_tdn):
    (folder / "model").write_text("mine")
    outcome = real_tdn("models", "import", checkpoint, "-o", "model", *ELEMENTS)
    assert outcome.code == 1
    assert outcome.err == "Error: model: is a file; give the folder to make\n"
    assert (folder / "model").read_text() == "mine"


def test_what_is_no_checkpoint_is_one_line_and_leaves_nothing(folder, real_tdn, files):
    (folder / "page.pth").write_text("<html>")
    outcome = real_tdn("models", "import", "page.pth", "-o", "model")
    assert outcome.code == 1
    assert outcome.err == "Error: page.pth: not a PyTorch file of tensors, or a damaged one\n"
    assert files() == ["page.pth"]


@pytest.mark.parametrize("product", ["cp", "dense"])
def test_an_imported_model_computes(model, product, real_tdn):
    outcome = real_tdn("energy", "water.xyz", "--model", model, "--product", product, "--json")
    assert outcome.code == 0
    assert "the energy jumps" in outcome.err
    (row,) = json.loads(outcome.out)["results"]
    assert row["max_force_eV_per_A"] > 0


def test_a_product_that_the_model_lacks_is_a_usage_error(real_tdn, folder):
    write("water.xyz", molecule("H2O"))
    outcome = real_tdn("energy", "water.xyz", "--product", "exact-cp")
    assert outcome.code == 2
    assert "product 'exact-cp' is not one of this model's; allowed: dense, cp, cg" in outcome.err


def test_constant_energy_needs_forces_that_conserve_it_unless_told(model, real_tdn):
    run = ["md", "water.xyz", "--model", model, "--steps", "2", "--max-force", "1e9"]
    run += ["--max-temperature", "1e9", "--min-distance", "0.01"]
    refused = real_tdn(*run, "--ensemble", "nve")
    assert refused.code == 2
    assert "give --allow-direct-forces" in refused.err
    assert real_tdn(*run, "--ensemble", "nve", "--allow-direct-forces").code == 0
    assert real_tdn(*run, "--ensemble", "nvt-langevin", "--overwrite").code == 0


def test_selftest_of_an_imported_model_fails_with_a_table(model, real_tdn):
    outcome = real_tdn("selftest", "--model", model, "--dtype", "float64")
    assert outcome.code == 1
    assert "crossing the cutoff, energy" in outcome.out
    assert "FAILED" in outcome.out
    assert "checks failed" in outcome.out.splitlines()[-1]


def test_reference_energies_keep_all_their_digits(checkpoint, real_tdn):
    options = ("--energy", "per-atom", "--references", "pubchemqcr")
    assert real_tdn("models", "import", checkpoint, "-o", "model", *ELEMENTS, *options).code == 0
    found = load_network("./model").reference_energies
    for symbol in ("H", "C", "O"):
        energy = REFERENCES["pubchemqcr"][symbol] * units.Hartree
        assert float(found[atomic_numbers[symbol]]) == pytest.approx(energy, rel=1e-14)
