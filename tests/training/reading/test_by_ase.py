from pathlib import Path

import pytest
from ase import Atoms
from ase.db import connect

from tdncalc.errors import DataError
from tdncalc.training.data import load_frames


def test_an_ase_database_is_read_with_labels_and_keys(tmp_path: Path, labeled: list[Atoms]) -> None:
    with connect(tmp_path / "a.db") as database:
        for index, atoms in enumerate(labeled[:4]):
            database.write(atoms, part="train" if index < 3 else "test", kind=f"k{index}")
    frames = load_frames(["a.db#part=train"], tmp_path)
    assert frames.energy == pytest.approx([a.get_potential_energy() for a in labeled[:3]])
    assert frames.stress[1] == pytest.approx(labeled[1].get_stress(voigt=False))
    assert frames.kind.tolist() == ["k0", "k1", "k2"]
    assert frames.pbc[1].all()


def test_several_conditions_must_all_hold(data_folder: Path) -> None:
    chosen = load_frames(["all.extxyz#split=train&config_type=crystal"], data_folder)
    assert set(chosen.kind) == {"crystal"}
    with pytest.raises(DataError, match="must be key=value"):
        load_frames(["all.extxyz#train"], data_folder)


def test_a_pattern_takes_every_file(tmp_path: Path, data_folder: Path) -> None:
    text = (data_folder / "all.extxyz").read_bytes()
    for name in "ab":
        (tmp_path / f"{name}.extxyz").write_bytes(text)
    assert len(load_frames(["?.extxyz"], tmp_path)) == 48
    with pytest.raises(DataError, match="no such data file"):
        load_frames(["*.db"], tmp_path)
