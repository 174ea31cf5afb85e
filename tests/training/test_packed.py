from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdncalc.errors import DataError
from tdncalc.training import data as module
from tdncalc.training.config import load_config
from tdncalc.training.data import GraphDataset, load_frames, load_sets, pack_sets
from tdncalc.training.loop import train
from tdncalc.training.packed import open_packed, pack

SETS = {"a": ["all.extxyz#split=train"], "b": ["all.extxyz#split=test"]}


def test_packed_structures_are_those_of_the_files(data_folder: Path, tmp_path: Path) -> None:
    direct = load_sets(SETS, ["a", "b"], data_folder)
    packed = pack_sets(SETS, ["a", "b"], data_folder, tmp_path / "p")
    for name in ("starts", "numbers", "positions", "energy", "cell", "pbc", "level"):
        assert np.array_equal(getattr(packed, name), getattr(direct, name))
    assert packed.forces == pytest.approx(direct.forces, rel=1e-6)
    assert packed.stress == pytest.approx(direct.stress, nan_ok=True)


def test_packed_arrays_are_mapped_not_loaded(data_folder: Path, tmp_path: Path) -> None:
    packed = pack_sets(SETS, ["a", "b"], data_folder, tmp_path / "p")
    for name in ("starts", "numbers", "positions", "forces", "energy", "cell", "stress", "level"):
        assert isinstance(getattr(packed, name).base, np.memmap)


def test_sets_that_packed_structures_cannot_tell_apart_are_refused(
    data_folder: Path, tmp_path: Path
) -> None:
    sets = {f"{number}": ["all.extxyz"] for number in range(257)}
    with pytest.raises(DataError, match="257 sets are too many to pack; at most 256"):
        pack_sets(sets, list(sets), data_folder, tmp_path / "p")


def test_what_a_run_has_mapped_outlives_another_conversion(
    data_folder: Path, tmp_path: Path
) -> None:
    packed = pack_sets(SETS, ["a", "b"], data_folder, tmp_path / "p")
    before = packed.energy.copy()
    pack_sets({"a": ["all.extxyz#split=test"]}, ["a"], data_folder, tmp_path / "p")
    assert np.array_equal(packed.energy, before)


def test_graphs_of_packed_structures_are_the_same(data_folder: Path, tmp_path: Path) -> None:
    references = np.zeros((2, 119))
    direct = GraphDataset(load_sets(SETS, ["a", "b"], data_folder), 4.0, references)
    packed = pack_sets(SETS, ["a", "b"], data_folder, tmp_path / "p")
    for index in (1, 23):
        one, other = direct.get(index), GraphDataset(packed, 4.0, references).get(index)
        assert all(bool((one[key] == other[key]).all()) for key in ("z", "edge_vectors", "forces"))
        assert one.level == other.level


def test_files_are_converted_once_and_again_when_they_change(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "all.extxyz"
    source.write_bytes((data_folder / "all.extxyz").read_bytes())
    pack_sets(SETS, ["a", "b"], tmp_path, tmp_path / "p")
    with monkeypatch.context() as patch:
        patch.setattr(module, "pack", lambda *_: pytest.fail("converted again"))
        assert len(pack_sets(SETS, ["a", "b"], tmp_path, tmp_path / "p")) == 24
    source.write_bytes(2 * source.read_bytes())
    assert len(pack_sets(SETS, ["a", "b"], tmp_path, tmp_path / "p")) == 48


def test_files_of_a_pattern_or_folder_are_converted_again_when_they_change(
    data_folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "set-1.extxyz", tmp_path / "set-2.extxyz"
    first.write_bytes((data_folder / "all.extxyz").read_bytes())
    sets = {"": ["set-*.extxyz"]}
    assert len(pack_sets(sets, [""], tmp_path, tmp_path / "p")) == 24
    second.write_bytes(first.read_bytes())
    assert len(pack_sets(sets, [""], tmp_path, tmp_path / "p")) == 48
    of_folder = {"": ["p"]}
    assert len(pack_sets(of_folder, [""], tmp_path, tmp_path / "again")) == 48
    second.write_bytes(2 * first.read_bytes())
    pack_sets(sets, [""], tmp_path, tmp_path / "p")
    assert len(pack_sets(of_folder, [""], tmp_path, tmp_path / "again")) == 72


def test_a_packed_folder_is_a_source_itself(data_folder: Path, tmp_path: Path) -> None:
    pack_sets(SETS, ["a", "b"], data_folder, tmp_path / "p")
    assert len(load_frames(["p"], tmp_path)) == 24


def test_an_interrupted_conversion_is_no_folder_of_data(data_folder: Path, tmp_path: Path) -> None:
    def broken() -> object:
        yield load_frames(["all.extxyz"], data_folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        pack(broken(), tmp_path / "p")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not a folder of packed structures"):
        open_packed(tmp_path / "p")


def test_training_out_of_core_gives_the_same_model(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    packed = replace(config, data=replace(config.data, packed=True))
    results = [train(c, run_dir=tmp_path / str(i)) for i, c in enumerate((config, packed))]
    direct, mapped = (result.validation for result in results)
    assert direct is not None
    assert mapped is not None
    assert mapped["valid_forces_meV_per_A"] == pytest.approx(
        direct["valid_forces_meV_per_A"], rel=1e-4
    )
