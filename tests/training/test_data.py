import gzip
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from torch_geometric.loader import DataLoader

from tdncalc.errors import DataError
from tdncalc.training import frames as frames_module
from tdncalc.training.data import Frames, GraphDataset, load_frames


def pack(path: Path, **changes: object) -> Path:
    arrays = {
        "n": np.array([2, 1], np.uint16),
        "z": np.array([1, 8, 6], np.uint8),
        "x": np.array([[0, 0, 0], [0, 0, 970], [5, 5, 5]], np.int16),
        "e": np.array([-10.5, -3.25]),
        "f": np.array([[0, 0, -1500], [0, 0, 1500], [0, 0, 0]], np.int16),
        "kind": np.array(["min", "relax"]),
    }
    np.savez(path, **(arrays | changes))
    return path


def test_a_packed_shard_is_read_in_angstrom_and_electronvolt(tmp_path: Path) -> None:
    pack(tmp_path / "a.npz")
    frames = load_frames(["a.npz"], tmp_path)
    assert frames.atoms(0).get_chemical_formula() == "HO"
    assert frames.atoms(0).get_distance(0, 1) == pytest.approx(0.97)
    assert frames.forces[1].tolist() == [0, 0, 1.5]
    assert frames.energy.tolist() == [-10.5, -3.25]
    assert frames.kind.tolist() == ["min", "relax"]
    assert not np.isfinite(frames.stress).any()


@pytest.mark.parametrize("at_once", [2, 250_000])
def test_structures_that_come_repeatedly_are_counted_once(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "_COMPARED", at_once)
    pack(tmp_path / "a.npz")
    pack(tmp_path / "moved.npz", x=np.array([[0, 0, 0], [0, 0, 980], [5, 5, 5]], np.int16))
    once = load_frames(["a.npz"], tmp_path)
    twice = load_frames(["a.npz", "moved.npz", "a.npz"], tmp_path)
    assert once.n_distinct() == 2
    assert twice.n_distinct() == 3  # of those of one energy the first differ, the others do not


def test_a_packed_shard_is_chosen_from_by_kind_only(tmp_path: Path) -> None:
    pack(tmp_path / "a.npz")
    assert load_frames(["a.npz#kind=relax"], tmp_path).energy.tolist() == [-3.25]
    with pytest.raises(DataError, match=r"a\.npz#kind=none: no structures of which that is so"):
        load_frames(["a.npz#kind=none"], tmp_path)
    with pytest.raises(DataError, match="packed structures have a kind only, no 'split'"):
        load_frames(["a.npz#split=test"], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": np.array(["min"])}, "do not fit each other"),
        ({"n": np.uint16(3)}, "do not fit each other"),
        ({"e": np.zeros((2, 1))}, "do not fit each other"),
        ({"z": np.array([1, 8, 250], np.uint8)}, "z holds what is no atomic number"),
    ],
)
def test_a_packed_shard_that_fits_nothing_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    pack(tmp_path / "a.npz", **changes)
    with pytest.raises(DataError, match=message):
        load_frames(["a.npz"], tmp_path)


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_extxyz_is_read_with_its_labels(tmp_path: Path, labeled: list[Atoms], suffix: str) -> None:
    plain = tmp_path / "a.extxyz"
    write(plain, labeled[:4])
    packers = {"": bytes, ".xz": lzma.compress, ".gz": gzip.compress}
    (tmp_path / f"b.extxyz{suffix}").write_bytes(packers[suffix](plain.read_bytes()))
    frames = load_frames([f"b.extxyz{suffix}"], tmp_path)
    assert frames.energy == pytest.approx([a.get_potential_energy() for a in labeled[:4]])
    assert frames.forces == pytest.approx(np.concatenate([a.get_forces() for a in labeled[:4]]))
    stress = labeled[1].get_stress(voigt=False)
    assert frames.stress[1] == pytest.approx(stress, abs=1e-7)
    assert np.isnan(frames.stress[0]).all()
    assert frames.pbc.tolist() == [a.pbc.tolist() for a in labeled[:4]]


def test_a_filter_keeps_the_frames_whose_info_has_the_value(data_folder: Path) -> None:
    train = load_frames(["all.extxyz#split=train"], data_folder)
    test = load_frames(["all.extxyz#split=test"], data_folder)
    assert (len(train), len(test)) == (21, 3)


@pytest.mark.parametrize(
    "name", ["numbers", "positions", "forces", "energy", "cell", "pbc", "stress", "level"]
)
def test_the_digest_tells_of_any_change(data_folder: Path, name: str) -> None:
    frames = load_frames(["all.extxyz"], data_folder)
    changed = getattr(frames, name).copy()
    changed[1] = ~changed[1] if name == "pbc" else changed[1] + 1
    assert load_frames(["all.extxyz"], data_folder).digest() == frames.digest()
    assert replace(frames, **{name: changed}).digest() != frames.digest()


def test_files_join_in_order(tmp_path: Path, data_folder: Path) -> None:
    pack(tmp_path / "a.npz")
    joined = load_frames([str(data_folder / "all.extxyz"), "a.npz"], tmp_path)
    assert len(joined) == 26
    assert joined.energy[-1] == -3.25
    assert joined.starts[-1] == len(joined.numbers)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.npz", None, "no such data file"),
        ("all.extxyz@:3", None, "no such data file; of data no frames are picked by @, but by F"),
        ("folder", None, "a folder without LMDB or packed data; name its files, such as"),
        ("a.npz", b"PK\x03\x04 cut", "not a packed shard"),
        ("a.extxyz", b"2\n\nH 0 0 0\n", "cannot be read as labeled structures"),
        ("a.extxyz", b"1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n", "needs energy and forces"),
        ("a.extxyz.xz", b"not xz at all", "cannot be read as labeled structures"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "all.extxyz").touch()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        load_frames([name], tmp_path)


def test_a_name_with_braces_is_told_as_it_is(tmp_path: Path) -> None:
    columns = "species:S:1:pos:R:3:REF_forces:R:3"
    text = f"1\nREF_energy=1.0 Properties={columns}\nH nan 0 0 0 0 0\n"
    (tmp_path / "a{0}.xyz").write_text(text)
    with pytest.raises(DataError, match=r"a\{0\}\.xyz: structure 0 of those to read"):
        load_frames(["a{0}.xyz"], tmp_path)


def test_a_missing_file_here_is_not_sought_in_a_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^gone\.xyz: no such data file$"):
        load_frames(["gone.xyz"], Path())


def test_a_shard_whose_arrays_do_not_fit_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "a.npz", n=np.array([2, 2], np.uint16))
    with pytest.raises(DataError, match="do not fit each other"):
        load_frames(["a.npz"], tmp_path)


def test_arrays_of_another_layout_are_told_from_those_of_a_shard(tmp_path: Path) -> None:
    np.savez(tmp_path / "md17.npz", R=np.zeros(3), E=np.zeros(1))
    with pytest.raises(
        DataError, match=r"packed shard \(it has R, E but no n; it needs n, z, x, e"
    ):
        load_frames(["md17.npz"], tmp_path)


def test_a_shard_with_pickled_objects_is_never_executed(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "owned",))  # type: ignore[return-value]

    pack(tmp_path / "a.npz", kind=np.array([Hostile(), 1], dtype=object))
    with pytest.raises(DataError, match="not a packed shard"):
        load_frames(["a.npz"], tmp_path)
    assert not (tmp_path / "owned").exists()


def test_taking_structures_keeps_each_whole(data_folder: Path) -> None:
    frames = load_frames(["all.extxyz"], data_folder)
    taken = frames.take([5, 0])
    assert taken.atoms(0) == frames.atoms(5)
    assert taken.atoms(1) == frames.atoms(0)
    assert taken.energy.tolist() == frames.energy[[5, 0]].tolist()


def test_counts_are_of_each_element(data_folder: Path) -> None:
    frames = load_frames(["all.extxyz"], data_folder)
    counts = frames.counts([29, 79])
    expected = [[(frames.atoms(i).numbers == z).sum() for z in (29, 79)] for i in range(24)]
    assert counts.tolist() == expected


def test_graphs_hold_every_neighbor_and_the_stress(data_folder: Path) -> None:
    frames = load_frames(["all.extxyz"], data_folder)
    data = GraphDataset(frames, 3.0, np.zeros((1, 119))).get(1)
    assert data.edge_index.shape[1] >= 4 * 12 - 8
    volume = frames.atoms(1).get_volume()
    assert data.strain_gradient[0].numpy() == pytest.approx(frames.stress[1] * volume, abs=1e-5)
    assert data.has_stress.item() == 1


def test_a_stress_without_a_volume_is_no_label(data_folder: Path) -> None:
    frames = load_frames(["all.extxyz"], data_folder).take([1])
    frames = replace(frames, cell=np.zeros((1, 3, 3)), pbc=np.zeros((1, 3), dtype=bool))
    data = GraphDataset(frames, 3.0, np.zeros((1, 119))).get(0)
    assert (data.has_stress.item(), data.strain_gradient.abs().sum()) == (0, 0)


def test_evenly_spaced_structures_span_the_set(data_folder: Path) -> None:
    frames: Frames = load_frames(["all.extxyz"], data_folder)
    few = frames.evenly(5)
    assert few.energy[[0, -1]].tolist() == frames.energy[[0, -1]].tolist()
    assert frames.evenly(100) is frames


def test_a_batch_is_what_the_loader_of_pyg_makes(data_folder) -> None:
    dataset = GraphDataset(load_frames(["all.extxyz"], data_folder), 4.0, np.zeros((1, 119)))
    expected = next(iter(DataLoader(dataset, batch_sampler=[[3, 0, 8]])))
    found = dataset.batch([3, 0, 8])
    for name in ("batch", *dataset.get(0).keys()):
        if name != "num_nodes":
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    assert found.num_graphs == expected.num_graphs
