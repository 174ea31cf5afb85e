import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tdncalc.checkpoint import (
    add_errors,
    find_device,
    load_model,
    load_network,
    model_folder,
    read_card,
    save_model,
    verify,
)
from tdncalc.errors import DamagedModelError, ModelNotFoundError, OptionError, OutputError, TDNError
from tests.structures import structure


@pytest.fixture
def folder(model_folder, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def edit_card(folder: Path, change: Callable[[dict], object]) -> None:
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def write_weights(folder: Path, data: bytes) -> None:
    """Replace the weights and make the card's checksum fit."""
    (folder / "model.safetensors").write_bytes(data)
    edit_card(folder, lambda card: card.update(sha256=hashlib.sha256(data).hexdigest()))


def edit_weights(folder: Path, change: Callable[[dict], object]) -> None:
    state = load((folder / "model.safetensors").read_bytes())
    change(state)
    write_weights(folder, save(state))


def test_model_comes_back_as_it_was_saved(potential, model_folder):
    loaded = load_model(model_folder, device="cpu", dtype="float64")
    atoms = structure("organic box")
    (one,), (other,) = loaded.evaluate([atoms]), potential.evaluate([atoms])
    assert one["energy"] == other["energy"]
    assert np.array_equal(one["forces"], other["forces"])
    assert loaded.elements == potential.elements
    assert (loaded.name, loaded.cutoff, loaded.dtype) == ("tiny", 5.0, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_keep_their_precision(make_network, tmp_path, dtype):
    network = make_network(("H", "O")).to(dtype)
    network.reference_energies = network.reference_energies.double() / 3
    save_model(tmp_path / "saved", network, {"name": "saved"})
    state = load_network(tmp_path / "saved").state_dict()
    for name, value in network.state_dict().items():
        assert state[name].dtype == value.dtype, name
        assert torch.equal(state[name], value), name


def test_loaded_network_can_be_trained_further(model_folder):
    network = load_network(model_folder)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        network.embedding += 1.0


def test_card_tells_what_is_known(make_network, tmp_path):
    network = make_network(("H", "O"), cutoff=4.0)
    written = save_model(tmp_path / "m", network, {"name": "m", "theory": "none", "format": 99})
    card = read_card(tmp_path / "m")
    assert card == written
    assert (card["theory"], card["elements"], card["cutoff_A"], card["format"]) == (
        "none",
        ["H", "O"],
        4.0,
        1,
    )
    assert card["n_parameters"] == sum(p.numel() for p in network.parameters())
    assert (
        card["sha256"]
        == hashlib.sha256((tmp_path / "m/model.safetensors").read_bytes()).hexdigest()
    )
    assert card["coupling_residual"] < 1e-12


def test_saving_again_replaces_and_leaves_nothing_behind(make_network, tmp_path):
    for name in ("first", "second"):
        save_model(tmp_path, make_network(("H",)), {"name": name})
    assert read_card(tmp_path)["name"] == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", "model.safetensors"]


def test_saving_into_a_file_is_refused(make_network, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken: cannot write the model"):
        save_model(tmp_path / "taken", make_network(("H",)), {"name": "m"})


@pytest.mark.parametrize("full", ["model.safetensors", "card.json"])
def test_a_full_disk_leaves_the_model_that_was_there(make_network, tmp_path, monkeypatch, full):
    folder, write = tmp_path / "m", Path.write_bytes
    save_model(folder, make_network(("H",)), {"name": "old"})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fill(path, data):
        if full not in path.name:
            return write(path, data)
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OutputError, match="No space left"):
        save_model(folder, make_network(("H", "C")), {"name": "new"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    verify(folder)


def test_writers_of_one_card_do_not_meet(folder, monkeypatch):
    replace, pid = os.replace, os.getpid()

    def let_another_write(source, target):
        monkeypatch.undo()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        add_errors(folder, "other", {"n": 1})
        replace(source, target)

    monkeypatch.setattr(os, "replace", let_another_write)
    add_errors(folder, "own", {"n": 2})
    assert read_card(folder)["errors"]["own"] == {"n": 2}
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp"))


def test_whole_model_is_verified(model_folder):
    verify(model_folder)


def test_changed_byte_is_noticed(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(
        DamagedModelError, match=r"checksum .* is not the card's .* install the model again"
    ):
        load_model(folder)


def test_truncated_weights_are_noticed(folder):
    path = folder / "model.safetensors"
    write_weights(folder, path.read_bytes()[:-100])
    with pytest.raises(DamagedModelError, match="not a safetensors file"):
        verify(folder)


def test_wrong_shape_is_noticed(folder):
    edit_weights(
        folder, lambda state: state.update(embedding=state["embedding"][:, :, :-1].clone())
    )
    with pytest.raises(
        DamagedModelError, match=r"does not fit its card .*size mismatch for embedding"
    ):
        verify(folder)


@pytest.mark.parametrize(
    "name", ["embedding", "reference_energies", "coupling.tensor", "coupling.a"]
)
def test_missing_weights_are_noticed(folder, name):
    edit_weights(folder, lambda state: state.pop(name))
    with pytest.raises(DamagedModelError, match=f"does not fit its card .*{name}"):
        verify(folder)


def test_weights_that_belong_nowhere_are_noticed(folder):
    edit_weights(folder, lambda state: state.update(extra=torch.zeros(1)))
    with pytest.raises(DamagedModelError, match=r"does not fit its card .*extra"):
        verify(folder)


class Bomb:
    """Creates a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_pickle_in_place_of_the_weights_is_never_executed(folder, tmp_path):
    mark = tmp_path / "executed"
    write_weights(folder, pickle.dumps(Bomb(mark)))
    with pytest.raises(DamagedModelError, match="not a safetensors file"):
        load_model(folder)
    assert not mark.exists()


def test_missing_weights_file_is_noticed(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        DamagedModelError, match=r"model\.safetensors: cannot be read \(No such file"
    ):
        load_model(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[1, [2]]", "null", '"card"', "\udcff\udcfe"])
def test_card_that_is_none_is_noticed(folder, text):
    path = folder / "card.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedModelError, match=r"card\.json: .*card"):
        read_card(folder)


def test_card_without_checksum_is_noticed(folder):
    edit_card(folder, lambda card: [card.pop(name) for name in ("sha256", "config")])
    with pytest.raises(DamagedModelError, match="the card lacks config, sha256"):
        load_model(folder)


def test_card_of_another_format_is_refused(folder):
    edit_card(folder, lambda card: card.update(format=2))
    with pytest.raises(
        DamagedModelError, match="format 2, but this version reads 1; update tdncalc"
    ):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"elements": ["H"]},
        {"elements": ["H", "Xyz"]},
        {"elements": 3},
        {"channels": 9},
        {"channels": -1},
        {"channels": "many"},
        {"l_max": 3},
        {"n_layers": 1},
        {"edge_product": "fft"},
        {"width": 7},
        {"cutoff": 4.999},
        {"n_neighbors": 1.0},
    ],
)
def test_configuration_that_does_not_fit_the_weights_is_noticed(folder, change):
    edit_card(folder, lambda card: card["config"].update(change))
    with pytest.raises(DamagedModelError, match="does not fit its card"):
        verify(folder)


def test_configuration_without_a_checksum_is_taken(folder):
    edit_card(folder, lambda card: card.pop("config_sha256"))
    verify(folder)


@pytest.mark.parametrize("name", ["cutoff", "n_neighbors", "energy_scale", "edge_product"])
def test_configuration_without_a_setting_is_noticed(folder, name):
    edit_card(folder, lambda card: card["config"].pop(name))
    with pytest.raises(
        DamagedModelError, match=rf"does not fit its card \(its config lacks {name}"
    ):
        verify(folder)


def test_unknown_model_is_named(tmp_path):
    with pytest.raises(
        ModelNotFoundError, match=r"no model 'organik': neither bundled .* 'tdn models list'"
    ):
        load_model("organik")
    with pytest.raises(LookupError, match="nowhere"):
        model_folder(tmp_path / "nowhere")


def test_unknown_dtype_is_refused(model_folder):
    with pytest.raises(
        OptionError, match="dtype 'float16' is not known; allowed: float32, float64"
    ):
        load_model(model_folder, dtype="float16")


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "cpu:", "cpu:1", "", "cuda:-1", "meta", None]
)
def test_unknown_device_is_refused(model_folder, device):
    with pytest.raises(
        OptionError, match=r"device .* is not known; allowed: auto, cpu, cuda, cuda:n"
    ):
        load_model(model_folder, device=device)


def test_a_device_of_pytorch_is_taken(model_folder):
    assert load_model(model_folder, device=torch.device("cpu")).device == torch.device("cpu")


def test_device_that_is_not_here_is_refused(model_folder):
    with pytest.raises(
        OptionError, match="device 'cuda:99' is not on this machine; use cpu or auto"
    ):
        load_model(model_folder, device="cuda:99")


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two GPUs, of which the second one is this thread's."""
    for name, value in {"is_available": True, "device_count": 2, "current_device": 1}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)


@pytest.mark.parametrize(
    ("device", "found"),
    [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_gpu_stays_the_same_whatever_another_thread_takes_for_the_present_one(
    two_gpus, device, found
):
    assert find_device(device) == torch.device(found)


@pytest.mark.parametrize("device", ["cuda:2", "cuda:256", "cuda:99999999999999999999"])
def test_numbers_beyond_the_gpus_here_are_refused(two_gpus, device):
    with pytest.raises(OptionError, match=f"device '{device}' is not on this machine"):
        find_device(device)


def test_every_error_is_one_line(folder):
    (folder / "model.safetensors").write_bytes(b"\n")
    with pytest.raises(TDNError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


OUTCOME = {"check": "net force", "value": 0.1, "unit": "eV/Å", "passed": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("novelty", 3),
        ("novelty", None),
        ("errors", []),
        ("validation", 7),
        ("selftest", 3),
        ("selftest", {"checks": [{}]}),
        ("selftest", {"checks": {"check": "net force"}}),
        ("selftest", {"checks": ["net force"]}),
        ("selftest", {"checks": [OUTCOME | {"value": None}]}),
        ("selftest", {"checks": [OUTCOME | {"passed": "no"}]}),
        ("elements", "HC"),
        ("elements", [1, 2]),
        ("config", []),
        ("sha256", 1),
        ("name", None),
        ("format", "1"),
    ],
)
def test_entries_of_a_card_that_are_of_another_type_are_named(name, value, folder):
    edit_card(folder, lambda card: card.update({name: value}))
    with pytest.raises(DamagedModelError, match=rf"card.json: '{name}' of the card is not a"):
        load_model(folder)
