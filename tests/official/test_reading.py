"""Checkpoints of the published code: what is read, and what is refused, each in one line."""

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch import Tensor

from tdncalc.checkpoint import load_model
from tdncalc.errors import CheckpointError, OptionError
from tdncalc.official.importing import import_checkpoint
from tdncalc.official.network import published_network
from tdncalc.official.reading import read_checkpoint
from tdncalc.official.settings import ImportSettings
from tests.official.checkpoint import SIZES, random_state, save, tensors

FEW = ImportSettings(elements=("H", "C", "O"))


@pytest.fixture(scope="module")
def state():
    return random_state()


def prefixed(state, before="", inside=""):
    return {
        before + (name.replace("blocks.0.", f"blocks.0.{inside}") if inside else name): value
        for name, value in state.items()
    }


def trained_names(state):
    return [name for name in state if ".cp_tp." not in name]


@pytest.mark.parametrize("before", ["", "module."])
@pytest.mark.parametrize("inside", ["", "_orig_mod."])
@pytest.mark.parametrize("more", [{}, {"optimizer_state_dict": {"state": {}}}])
def test_every_kind_of_file_gives_the_same_network(state, tmp_path, before, inside, more):
    path = save(tmp_path / "x.pth", prefixed(state, before, inside), **more)
    checkpoint = read_checkpoint(path)
    assert checkpoint.forces is None
    expected = tensors(state)
    assert list(checkpoint.state) == list(expected)
    assert all(torch.equal(checkpoint.state[name], expected[name]) for name in expected)


def test_sizes_come_from_the_shapes(state, tmp_path):
    path = save(tmp_path / "x.pth", state)
    network, sizes = published_network(read_checkpoint(path), {"elements": ("H",)})
    assert (sizes.n_layers, sizes.l_max, sizes.rank) == (SIZES["T"], 1, 5)
    assert (sizes.channels, sizes.heads, sizes.n_radial) == (SIZES["C"], SIZES["H"], SIZES["B"])
    assert sizes.hidden == (SIZES["F1"], SIZES["F2"])
    assert network.coupling.factors.residual > 0.1  # random factors are no decomposition


@pytest.mark.parametrize(("head", "forces"), [(True, "direct"), (False, "gradient")])
def test_the_optimizer_tells_how_forces_were_trained(state, tmp_path, head, forces):
    names = trained_names(state)
    moments = {k: {} for k, n in enumerate(names) if head or not n.startswith("force_")}
    path = save(tmp_path / "x.pth", state, optimizer_state_dict={"state": moments})
    assert read_checkpoint(path).forces == forces
    card = import_checkpoint(path, tmp_path / "m", FEW)
    assert card["config"]["forces"] == forces


SPECIAL = {
    "sparse coo": Tensor.to_sparse,
    "sparse csr": Tensor.to_sparse_csr,
    "meta": lambda tensor: tensor.to("meta"),
    "nested": lambda tensor: torch.nested.nested_tensor([tensor]),
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "torch.float8_e5m2": lambda tensor: tensor.to(torch.float8_e5m2),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor", "ignore:The PyTorch API of nested")
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("kind", SPECIAL)
def test_tensors_that_are_not_stored_number_by_number_are_named(state, tmp_path, kind, averaged):
    name = "blocks.0.attn.alpha_dot"
    content = tensors(state)
    shadow = {key: content[key] for key in trained_names(state)}
    (shadow if averaged else content)[name] = SPECIAL[kind](content[name])
    average = {"shadow_params": list(shadow.values())}
    torch.save({"model_state_dict": content, "ema_state_dict": average}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=f"{name} is a {kind} tensor; save it as a dense"):
        read_checkpoint(tmp_path / "x.pth", weights="ema" if averaged else "raw")


def test_averaged_weights_take_the_place_of_the_raw_ones(state, tmp_path):
    shadow = [torch.from_numpy(state[name]) * 2 for name in trained_names(state)]
    path = save(tmp_path / "x.pth", state, ema_state_dict={"shadow_params": shadow})
    raw, averaged = (read_checkpoint(path, weights=w) for w in ("raw", "ema"))
    assert raw.has_average
    assert averaged.has_average
    for name in state:
        factor = 1 if ".cp_tp." in name else 2
        assert torch.equal(averaged.state[name], raw.state[name] * factor), name
    damaged = save(tmp_path / "y.pth", state, ema_state_dict={"shadow_params": shadow[:-1]})
    with pytest.raises(CheckpointError, match="averaged weights do not fit"):
        read_checkpoint(damaged, weights="ema")
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        read_checkpoint(save(tmp_path / "z.pth", state), weights="ema")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile-was-here",)


def hostile_torch(path, state):
    torch.save({**tensors(state), "norm.affine_weight": Hostile()}, path)


def hostile_pickle(path, state):
    path.write_bytes(pickle.dumps(Hostile(), protocol=2))


def without(name):
    def write(path, state):
        save(path, {key: value for key, value in state.items() if key != name})

    return write


def changed(name, change):
    def write(path, state):
        save(path, {**state, name: change(state[name])})

    return write


def half(path, state):
    save(path, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_bit_wrong(path, state):
    save(path, state)
    content = bytearray(path.read_bytes())
    content[content.index(state[MATRIX].tobytes())] ^= 1
    path.write_bytes(content)


def another(path, state):
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def swapped_letters(path, state):
    save(path, {name.replace("cp_tp.cp_a", "cp_tp.cp_u"): v for name, v in state.items()})


FIRST = "edge_embed.tp.cp_tp.cp_a"
LAST = "force_head.tp2.cp_tp.cp_c"
MATRIX = "blocks.1.attn.proj.linear.weight"
REFUSED = [
    (hostile_torch, r"would run code when loaded \(\w+.system\)"),
    (hostile_pickle, r"would run code when loaded \(\w+.system\)"),
    (lambda path, state: path.write_text("Not found"), "not a PyTorch file"),
    (lambda path, state: path.write_bytes(b""), "not a PyTorch file"),
    (lambda path, state: None, "cannot be read"),
    (half, "only the first part"),
    (one_bit_wrong, r"damaged, x/data/\d+ is not as it was written"),
    (another, "another architecture"),
    (lambda path, state: torch.save(torch.zeros(3), path), "holds a Tensor"),
    (lambda path, state: torch.save({"epoch": 3}, path), "neither a state dict"),
    (lambda path, state: torch.save({}, path), "neither a state dict"),
    (without(MATRIX), f"lacks {MATRIX}"),
    (without("force_proj.bias"), "lacks force_proj.bias"),
    (without("rbf.mean"), "lacks rbf.mean"),
    (without(FIRST), f"lacks {FIRST}"),
    (without(LAST), f"lacks {LAST}"),
    (swapped_letters, f"lacks {FIRST}"),
    (changed(MATRIX, lambda w: w[:, :-1]), rf"{MATRIX} has shape \(8, 7\), but \(8, 8\)"),
    (changed("head.2.bias", lambda b: b[0]), r"head.2.bias has shape \(1,\)"),
    (changed("norm.affine_weight", lambda w: w[0]), "norm.affine_weight has shape"),
    (changed(FIRST, lambda f: f[:, :-1]), "but"),
    (changed(LAST, lambda f: f[:-1]), rf"{LAST} has shape \(3, 5\), but \(4, 5\)"),
    (changed(LAST, lambda f: f * 2), f"{LAST} differs from"),
    (changed(MATRIX, lambda w: w * np.nan), f"{MATRIX} holds values that are not finite"),
    (changed(MATRIX, lambda w: w.astype(int)), f"{MATRIX} holds values"),
    (
        lambda path, state: save(path, {**state, "extra.weight": state[MATRIX]}),
        "extra.weight is no",
    ),
]


@pytest.mark.parametrize(("write", "message"), REFUSED)
def test_what_is_no_whole_checkpoint_is_refused_in_one_line_and_nothing_is_written(
    write, message, state, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.pth", state)
    with pytest.raises(CheckpointError, match=message) as raised:
        import_checkpoint(tmp_path / "x.pth", tmp_path / "model", FEW)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "x.pth"))
    assert {path.name for path in tmp_path.iterdir()} <= {"x.pth"}


def test_a_file_without_checksums_is_read(state, tmp_path):
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / "x.pth", state)
    finally:
        torch.serialization.set_crc32_options(computed)
    assert len(read_checkpoint(path).state) == len(state)


def test_a_hostile_pickle_is_one_indeed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile_pickle(tmp_path / "x.pth", {})
    pickle.loads((tmp_path / "x.pth").read_bytes())
    assert (tmp_path / "hostile-was-here").exists()


@pytest.mark.filterwarnings("ignore:model 'm'")
def test_an_imported_model_loads_and_tells_what_fails(state, tmp_path):
    path = save(tmp_path / "x.pth", state)
    card = import_checkpoint(path, tmp_path / "m", FEW)
    failed = {row["check"] for row in card["selftest"]["checks"] if not row["passed"]}
    assert {"forces = −dE/dr", "net force", "crossing the cutoff, energy"} <= failed
    assert {"permutation, energy", "supercell, energy", "two far copies, energy"}.isdisjoint(failed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        potential = load_model(tmp_path / "m")
    (message,) = {str(w.message) for w in caught}
    assert "the energy jumps" in message
    assert "from the gradient of the energy" in message
    assert np.isfinite(potential.evaluate([molecule("H2O")])[0]["forces"]).all()


@pytest.mark.filterwarnings("ignore:model ")
def test_references_and_a_per_atom_energy_give_totals(state, tmp_path):
    path = save(tmp_path / "x.pth", state)
    plain = ImportSettings(forces="gradient")
    whole = ImportSettings(forces="gradient", energy="per-atom", references="pubchemqcr")
    results = {}
    for name, settings in (("plain", plain), ("whole", whole)):
        import_checkpoint(path, tmp_path / name, settings)
        (results[name],) = load_model(tmp_path / name, dtype="float64").evaluate([molecule("H2O")])
    atoms = (-75.0606214015 - 2 * 0.5002727762) * 27.211386
    assert results["whole"]["energy"] == pytest.approx(3 * results["plain"]["energy"] + atoms)
    assert np.allclose(results["whole"]["forces"], 3 * results["plain"]["forces"])


@pytest.mark.parametrize(
    "settings", [{"cutoff": -1.0}, {"n_avg": 0}, {"references": "else"}, {"max_neighbors": -3}]
)
def test_impossible_import_settings_are_refused(settings):
    with pytest.raises(OptionError, match=next(iter(settings))):
        ImportSettings(**settings)


def test_an_element_without_a_reference_energy_is_refused():
    with pytest.raises(OptionError, match="'pubchemqcr' has no energy of Fe, only of H Be"):
        ImportSettings(references="pubchemqcr", elements=("H", "Fe"))
    assert ImportSettings(elements=("H", "Fe")).elements == ("H", "Fe")
