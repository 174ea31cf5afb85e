"""The configurations and scripts of examples/training."""

import lzma
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tdncalc.cards import read_card
from tdncalc.checkpoint import load_network, save_model
from tdncalc.tdn import TDN
from tdncalc.training.config import load_config
from tdncalc.training.data import load_frames

FOLDER = Path(__file__).parents[2] / "examples" / "training"


def script(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(FOLDER / f"{name}.py")))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_read(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.fixture
def source(tmp_path: Path, labeled: list[Atoms]) -> Callable[[str], Path]:
    def make(split: str) -> Path:
        frames = [atoms.copy() for atoms in labeled for _ in range(4)]
        for index, atoms in enumerate(frames):
            atoms.info["index"] = index
            atoms.info["split"] = "test" if index % 5 == 0 else split
        write(tmp_path / "all.extxyz", frames)
        packed = lzma.compress((tmp_path / "all.extxyz").read_bytes())
        (tmp_path / "all.extxyz.xz").write_bytes(packed)
        return tmp_path

    return make


def test_no_structure_is_in_two_parts_and_groups_stay_together(
    source: Callable[[str], Path],
) -> None:
    splitting = script("split_data")
    folder = source("train")
    part = splitting.Part("all.extxyz.xz", "x", "train", {"test": "test"}, valid=0.25, group=4)
    parts = splitting.split(part, folder)
    places = {
        name: {int(text.split("index=")[1].split()[0]) for text in texts}
        for name, texts in parts.items()
    }
    assert places["test"] == set(range(0, 96, 5))
    assert not places["train"] & places["valid"]
    assert len(places["train"] | places["valid"] | places["test"]) == 96
    assert 10 < len(places["valid"]) < 32
    kept = [text for text in parts["train"] if "config_type=crystal" in text.split("\n")[1]]
    assert kept


def test_exchanged_shear_stress_is_put_right_in_the_kinds_named(tmp_path: Path) -> None:
    splitting = script("split_data")
    frames = [bulk("Cu"), bulk("Cu")]
    for atoms, kind in zip(frames, ("Elastic", "AIMD"), strict=True):
        atoms.info |= {"config_type": kind, "split": "train"}
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, stress=[1, 2, 3, 4, 5, 6])
    write(tmp_path / "all.extxyz", frames)
    (tmp_path / "x.xz").write_bytes(lzma.compress((tmp_path / "all.extxyz").read_bytes()))
    part = splitting.Part("x.xz", "x", "train", {}, 0.9, exchanged=r"^(?!.*Elastic)")
    parts = splitting.split(part, tmp_path)
    (tmp_path / "again.extxyz").write_text("".join(parts["train"] + parts["valid"]))
    stress = {
        atoms.info["config_type"]: atoms.get_stress()
        for atoms in read(tmp_path / "again.extxyz", ":")
    }
    assert stress["Elastic"] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert stress["AIMD"] == pytest.approx([1, 2, 3, 5, 4, 6])


def test_a_sample_has_a_share_of_every_kind(tmp_path: Path, data_folder: Path) -> None:
    bundling = script("bundle_sample")
    frames = load_frames(["all.extxyz"], data_folder)
    chosen = frames.take(bundling.choose(frames, 8))
    assert sorted(np.unique(chosen.kind)) == sorted(np.unique(frames.kind))
    assert len(chosen) == 8
    bundling.save_extxyz(tmp_path / "s.extxyz.xz", chosen)
    again = load_frames(["s.extxyz.xz"], tmp_path)
    assert again.energy == pytest.approx(chosen.energy)
    assert again.stress == pytest.approx(chosen.stress, abs=1e-6, nan_ok=True)
    molecules = chosen.take(np.flatnonzero(~chosen.pbc.any(1)).tolist())
    bundling.save_shard(tmp_path / "s.npz", molecules)
    assert load_frames(["s.npz"], tmp_path).forces == pytest.approx(molecules.forces, abs=1e-3)


def test_a_mean_of_weights_lies_between_its_models(tmp_path: Path) -> None:
    averaging = script("mean_weights")
    first, second = load_network("organic-small"), load_network("organic-small")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1.0)
    save_model(tmp_path / "a", first, {"name": "a", "errors": {"test": {}}})
    save_model(tmp_path / "b", second, {"name": "b"})
    averaging.mean([str(tmp_path / "a"), str(tmp_path / "b")], [0.75, 0.25], tmp_path / "mean")
    mean, card = load_network(tmp_path / "mean"), read_card(tmp_path / "mean")
    for parameter, start in zip(mean.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(parameter, start + 0.25)
    assert isinstance(mean, TDN)
    assert mean.lowest.isneginf().all()  # bounds are those of a model's own training
    assert [part["share"] for part in card["mean_of"]] == [0.75, 0.25]
    assert "errors" not in card


def test_models_of_different_networks_have_no_mean(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="organic-small has another network than organic"):
        script("mean_weights").mean(["organic", "organic-small"], [0.5, 0.5], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
