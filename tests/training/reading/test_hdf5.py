from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tdncalc.errors import DataError
from tdncalc.training.data import load_frames
from tdncalc.training.reading import extras

HARTREE, BOHR = 27.211386, 0.52917721
Arrays = dict[str, NDArray[np.float64]]


def spice(path: Path, unit: str = "bohr") -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("[H][H]")
        group["subset"] = np.array([b"SPICE Dipeptides"])
        group["atomic_numbers"] = np.array([1, 1], np.int16)
        group["conformations"] = np.array([[[0, 0, 0], [0, 0, 1.4]], [[0, 0, 0], [0, 0, 2.0]]])
        group["conformations"].attrs["units"] = unit
        group["dft_total_energy"] = np.array([-1.17, -1.10])
        group["dft_total_gradient"] = np.array([[[0, 0, -0.1], [0, 0, 0.1]]] * 2, np.float32)


def ani(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("H2")
        group["atomic_numbers"] = np.array([1, 1], np.uint8)
        group["coordinates"] = np.array([[[0, 0, 0], [0, 0, d]] for d in (0.7, 0.8, 0.9)], "f4")
        group["wb97x_dz.energy"] = np.array([-1.1, -1.2, np.nan])
        group["wb97x_dz.forces"] = np.full((3, 2, 3), 0.01, np.float32)
        group["wb97x_tz.energy"] = np.array([np.nan, -1.3, -1.4])
        group["wb97x_tz.forces"] = np.full((3, 2, 3), 0.02, np.float32)


def test_spice_is_in_bohr_and_hartree_and_has_gradients(tmp_path: Path) -> None:
    spice(tmp_path / "a.hdf5")
    frames = load_frames(["a.hdf5"], tmp_path)
    assert frames.energy == pytest.approx([-1.17 * HARTREE, -1.10 * HARTREE])
    assert frames.atoms(1).get_distance(0, 1) == pytest.approx(2 * BOHR)
    assert frames.forces[1, 2] == pytest.approx(-0.1 * HARTREE / BOHR, rel=1e-6)
    assert frames.kind.tolist() == ["SPICE Dipeptides"] * 2
    with pytest.raises(DataError, match="no structures"):
        load_frames(["a.hdf5#subset=DES370K"], tmp_path)


def test_spice_in_other_units_is_refused(tmp_path: Path) -> None:
    spice(tmp_path / "a.hdf5", unit="angstrom")
    with pytest.raises(DataError, match="conformations is in angstrom"):
        load_frames(["a.hdf5"], tmp_path)


@pytest.mark.parametrize(
    ("source", "energies", "force"),
    [("a.h5", [-1.1, -1.2], 0.01), ("a.h5#level=wb97x_tz", [-1.3, -1.4], 0.02)],
)
def test_ani_is_in_angstrom_and_hartree_without_what_was_not_computed(
    tmp_path: Path, source: str, energies: list[float], force: float
) -> None:
    ani(tmp_path / "a.h5")
    frames = load_frames([source], tmp_path)
    assert frames.energy == pytest.approx(np.array(energies) * HARTREE)
    assert frames.forces == pytest.approx(np.full((4, 3), force * HARTREE))
    assert frames.atoms(0).get_distance(0, 1) in (pytest.approx(0.7), pytest.approx(0.8))


def test_a_level_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    ani(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"'mp2'; there are: \['wb97x_dz', 'wb97x_tz'\]"):
        load_frames(["a.h5#level=mp2"], tmp_path)


def test_other_and_damaged_hdf5_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("x")["y"] = np.zeros(3)
    with pytest.raises(DataError, match=r"^[^:]*\.h5: \w+ has neither 'conformations'"):
        load_frames(["other.h5"], tmp_path)
    ani(tmp_path / "a.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:900])
    with pytest.raises(DataError, match=r"cut\.h5"):
        load_frames(["cut.h5"], tmp_path)


def test_a_missing_package_is_told_how_to_get() -> None:
    with pytest.raises(DataError, match=r"needs the package no_such; .* 'tdncalc\[data\]'"):
        extras.needed("no_such")


def test_numbers_and_positions_of_other_sizes_are_refused(tmp_path: Path) -> None:
    spice(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["[H][H]"]["atomic_numbers"]
        file["[H][H]"]["atomic_numbers"] = np.array([8, 1, 1], np.int16)
    with pytest.raises(
        DataError, match=r"a\.hdf5: structure 0 has 3 atoms, which positions \(2, 3"
    ):
        load_frames(["a.hdf5"], tmp_path)
