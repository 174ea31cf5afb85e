import copyreg
import gzip
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from ase import Atoms
from torch_geometric.data import Data

from tdncalc.errors import DataError
from tdncalc.training.data import load_frames

HARTREE, BOHR = 27.211386, 0.52917721


def write(path: Path, entries: Mapping[bytes, bytes]) -> None:
    with (
        lmdb.open(str(path), subdir=False, map_size=2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in entries.items():
            transaction.put(key, value)


def step(energy: float | None, d: float, gradient: bool = True) -> dict[str, Any]:
    return {
        "coordinates": [
            {"atom": "CL", "charge": 17.0, "x": 0.0, "y": 0.0, "z": 0.0},
            {"atom": "H", "x": 0.0, "y": 0.0, "z": d},
        ],
        "energy": energy,
        "gradient": [
            {"atom": "CL", "dx": 0.0, "dy": 0.0, "dz": -0.1},
            {"atom": "H", "dx": 0.0, "dy": 0.0, "dz": 0.1},
        ][: 2 if gradient else 1],
    }


def packed(content: object) -> bytes:
    return gzip.compress(pickle.dumps(content), mtime=0)


@pytest.fixture
def pubchem(tmp_path: Path) -> Path:
    molecule = {
        "pm3": [step(-5.0, 1.4)],
        "hf": None,
        "DFT_1st": [step(-460.0, 1.3), step(None, 1.29), step(-460.1, 1.28, gradient=False)],
        "DFT_2nd": [step(-460.0, 1.3), step(-460.2, 1.27)],
    }
    write(tmp_path / "a.lmdb", {b"%09d" % cid: packed(molecule) for cid in range(1, 41)})
    return tmp_path


def test_pubchemqcr_is_in_hartree_and_has_gradients(pubchem: Path) -> None:
    frames = load_frames(["a.lmdb"], pubchem)
    assert len(frames) == 80
    assert frames.energy[:2] == pytest.approx([-460.0 * HARTREE, -460.2 * HARTREE])
    assert frames.atoms(1).get_chemical_symbols() == ["Cl", "H"]
    assert frames.atoms(1).get_distance(0, 1) == pytest.approx(1.27)
    assert frames.forces[0, 2] == pytest.approx(0.1 * HARTREE / BOHR)
    assert frames.kind[:2].tolist() == ["DFT_1st", "DFT_2nd"]


def test_pubchemqcr_by_stage_and_split(pubchem: Path) -> None:
    assert load_frames(["a.lmdb#stage=pm3"], pubchem).energy[0] == pytest.approx(-5 * HARTREE)
    sizes = [len(load_frames([f"a.lmdb#split={name}"], pubchem)) for name in ("train", "valid")]
    assert sum(sizes) < 80
    assert sizes[0] > sizes[1] > 0


def test_rows_of_fairchem_are_read_as_ase_wrote_them(tmp_path: Path, labeled: list[Atoms]) -> None:
    entries = {b"nextid": zlib.compress(b"4"), b"deleted_ids": zlib.compress(b"[]")}
    for index, atoms in enumerate(labeled[1:3], start=1):
        row = {
            "numbers": atoms.numbers.tolist(),
            "positions": {
                "__ndarray__": [[len(atoms), 3], "float64", atoms.positions.ravel().tolist()]
            },
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces().tolist(),
            "key_value_pairs": {"source": f"s{index}"},
        }
        if atoms.pbc.any():
            row["stress"] = atoms.get_stress().tolist()
        entries[b"%d" % index] = zlib.compress(json.dumps(row).encode())
    write(tmp_path / "a.aselmdb", entries)
    frames = load_frames(["a.aselmdb"], tmp_path)
    assert frames.atoms(0) == Atoms(labeled[1])
    assert frames.forces[: len(labeled[1])] == pytest.approx(labeled[1].get_forces())
    assert frames.stress[0] == pytest.approx(labeled[1].get_stress(voigt=False))
    assert np.isnan(frames.stress[1]).all()
    assert len(load_frames(["a.aselmdb#source=s2"], tmp_path)) == 1


def graph(atoms: Atoms) -> Data:
    return Data(
        pos=torch.tensor(atoms.positions, dtype=torch.float32),
        cell=torch.tensor(atoms.cell.array)[None].float(),
        atomic_numbers=torch.tensor(atoms.numbers).float(),
        natoms=len(atoms),
        y=atoms.get_potential_energy(),
        force=torch.tensor(atoms.get_forces()),
        sid=7,
    )


def test_graphs_of_oc20_are_read_without_their_class(tmp_path: Path, labeled: list[Atoms]) -> None:
    values = {b"%d" % i: pickle.dumps(graph(atoms)) for i, atoms in enumerate(labeled[1:4:2])}
    write(tmp_path / "a.lmdb", {b"length": pickle.dumps(2), **values})
    frames = load_frames(["a.lmdb"], tmp_path)
    atoms = labeled[1]
    assert frames.numbers[: len(atoms)].tolist() == atoms.numbers.tolist()
    assert frames.positions[: len(atoms)] == pytest.approx(atoms.positions, abs=1e-5)
    assert frames.cell[0] == pytest.approx(atoms.cell.array, abs=1e-5)
    assert frames.energy[0] == pytest.approx(atoms.get_potential_energy())
    assert frames.forces[: len(atoms)] == pytest.approx(atoms.get_forces())
    assert frames.pbc.all()
    assert len(load_frames(["a.lmdb#sid=7"], tmp_path)) == 2


def test_graphs_of_an_older_pyg_are_read(tmp_path: Path, labeled: list[Atoms]) -> None:
    """What they hold lies in the object itself."""
    state = graph(labeled[1]).to_dict()

    class Older(pickle.Pickler):
        def reducer_override(self, value: object) -> Any:
            new = copyreg.__newobj__  # type: ignore[attr-defined]
            return (new, (Data,), state) if isinstance(value, Data) else NotImplemented

    file = io.BytesIO()
    Older(file, 4).dump(Data())
    write(tmp_path / "a.lmdb", {b"0": file.getvalue()})
    assert load_frames(["a.lmdb"], tmp_path).energy[0] == labeled[1].get_potential_energy()


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("wrap", [packed, pickle.dumps])
def test_a_hostile_value_is_never_executed(tmp_path: Path, wrap: Any) -> None:
    for content in (Hostile(tmp_path / "owned"), {"pm3": [Hostile(tmp_path / "owned")]}):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.lmdb"
        write(path, {b"000000001": wrap(content)})
        with pytest.raises(DataError, match=r"would run code when loaded \(\w+.* not opened"):
            load_frames([path.name], tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"plain", "neither of PubChemQCR nor"),
        (gzip.compress(b"x", mtime=0)[:-4], "damaged"),
        (packed([1]), "holds a list"),
        (zlib.compress(b"{}"), "not a row of ASE's database"),
        (pickle.dumps({"x": 1}), "without pos and atomic_numbers"),
        (pickle.dumps({"pos": [[0, 0, 0]], "atomic_numbers": [1]}), "needs energy"),
    ],
)
def test_what_is_none_of_the_layouts_is_named(tmp_path: Path, value: bytes, message: str) -> None:
    write(tmp_path / "a.lmdb", {b"1": value})
    with pytest.raises(DataError, match=rf"a\.lmdb: 1.*{message}"):
        load_frames(["a.lmdb"], tmp_path)


def test_what_is_no_lmdb_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.lmdb").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as LMDB"):
        load_frames(["a.lmdb"], tmp_path)


def test_a_file_that_was_cut_off_is_named_and_kills_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    write(path, {b"%d" % place: bytes(1000) for place in range(2000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(DataError, match=r"a\.lmdb: cut off, it has \d+ of \d+ bytes"):
        load_frames(["a.lmdb"], tmp_path)


def test_what_has_another_shape_than_its_layout_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.lmdb", {b"1": packed({"DFT_1st": [3]})})
    with pytest.raises(DataError, match=r"a\.lmdb: structure 0 cannot be read"):
        load_frames(["a.lmdb"], tmp_path)


def row(*numbers: int, **labels: float) -> bytes:
    zeros = np.zeros((len(numbers), 3)).tolist()
    fields = {"numbers": numbers, "positions": np.eye(len(numbers), 3).tolist(), "forces": zeros}
    fields |= {"cell": np.zeros((3, 3)).tolist(), "pbc": [False] * 3} | labels
    return zlib.compress(json.dumps(fields).encode())


@pytest.mark.parametrize("number", [-1, 0, 119, 300])
def test_what_is_no_atomic_number_is_named(tmp_path: Path, number: int) -> None:
    write(tmp_path / "a.aselmdb", {b"1": row(1, 8, energy=0.0), b"2": row(1, number, energy=0.0)})
    with pytest.raises(
        DataError, match=r"structure 1 .* atomic number that is not one of 1 to 118"
    ):
        load_frames(["a.aselmdb"], tmp_path)


def test_a_row_without_labels_is_a_row(tmp_path: Path) -> None:
    write(tmp_path / "a.aselmdb", {b"1": row(1, 8)})
    with pytest.raises(DataError, match=r"a\.aselmdb: 1: a structure to learn from needs energy"):
        load_frames(["a.aselmdb"], tmp_path)
