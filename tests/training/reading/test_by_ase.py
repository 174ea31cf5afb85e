from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

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


def test_an_empty_value_that_takes_the_periodicity_is_refused(tmp_path: Path) -> None:
    entries = 'energy=-1.5 note= pbc="T T F"'
    properties = 'Lattice="4 0 0 0 4 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3'
    (tmp_path / "a.extxyz").write_text(f"1\n{properties} {entries}\nCu 0 0 0 0 0 0\n")
    with pytest.raises(DataError, match=r"'note' has no value .* takes that of 'pbc'"):
        load_frames(["a.extxyz"], tmp_path)


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


def as_text(atoms: Atoms, **changes: object) -> str:
    """A structure as extxyz, with labels that `changes` name, and nothing else."""
    text = StringIO()
    bare = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name, value in changes.items():
        (bare.arrays if np.ndim(value) == 2 and "orces" in name else bare.info)[name] = value
    write(text, bare, format="extxyz")
    return text.getvalue()


def labels(atoms: Atoms, prefix: str = "") -> dict[str, object]:
    return {f"{prefix}energy": atoms.get_potential_energy(), f"{prefix}forces": atoms.get_forces()}


def test_blank_lines_between_frames_end_nothing(tmp_path: Path, labeled: list[Atoms]) -> None:
    frames = [as_text(atoms, **labels(atoms)) for atoms in labeled[:3]]
    (tmp_path / "a.xyz").write_text("\n" + "\n\n".join(frames) + "\n")
    found = load_frames(["a.xyz"], tmp_path)
    assert found.energy == pytest.approx([a.get_potential_energy() for a in labeled[:3]])


@pytest.mark.parametrize("prefix", ["", "REF_"])
@pytest.mark.parametrize("name", ["stress", "virial", "virials"])
def test_stress_is_read_by_its_names_or_from_a_virial(
    tmp_path: Path, labeled: list[Atoms], prefix: str, name: str
) -> None:
    crystal = next(atoms for atoms in labeled if atoms.pbc.all())
    stress = crystal.get_stress(voigt=False)
    tensor = stress if name == "stress" else -stress * crystal.get_volume()
    text = as_text(crystal, **labels(crystal, prefix), **{prefix + name: tensor})
    (tmp_path / "a.xyz").write_text(text)
    found = load_frames(["a.xyz"], tmp_path)
    assert np.abs(stress).max() > 1e-4
    assert found.stress[0] == pytest.approx(stress, abs=1e-7)
    assert found.energy[0] == pytest.approx(crystal.get_potential_energy())
    assert found.forces == pytest.approx(crystal.get_forces(), abs=1e-6)


@pytest.mark.parametrize("left_out", ["energy", "forces"])
def test_energy_and_forces_are_of_one_method(
    tmp_path: Path, labeled: list[Atoms], left_out: str
) -> None:
    atoms = labeled[0]
    other = {"energy": -1.0, "forces": np.ones((len(atoms), 3))}
    del other[left_out]
    (tmp_path / "a.xyz").write_text(as_text(atoms, **other, **labels(atoms, "REF_")))
    found = load_frames(["a.xyz"], tmp_path)
    assert found.energy[0] == pytest.approx(atoms.get_potential_energy())
    assert found.forces == pytest.approx(atoms.get_forces(), abs=1e-6)


def test_labels_of_other_names_are_named(tmp_path: Path, labeled: list[Atoms]) -> None:
    (tmp_path / "a.xyz").write_text(as_text(labeled[0], **labels(labeled[0], "dft_")))
    with pytest.raises(DataError, match=r"or REF_energy and REF_forces; it has dft_energy, dft_f"):
        load_frames(["a.xyz"], tmp_path)


def test_a_label_that_stands_alone_is_named(tmp_path: Path, labeled: list[Atoms]) -> None:
    alone = labeled[0].copy()
    alone.calc = SinglePointCalculator(alone, energy=1.0)
    write(tmp_path / "a.extxyz", alone)
    with pytest.raises(DataError, match=r"a\.extxyz@0: .* it has energy$"):
        load_frames(["a.extxyz"], tmp_path)


def test_what_nothing_can_be_learned_from_is_named_with_its_file(
    tmp_path: Path, labeled: list[Atoms]
) -> None:
    molecule = next(atoms for atoms in labeled if not atoms.pbc.any())
    twice = molecule.copy()
    twice.positions[1] = twice.positions[0]
    flat = molecule.copy()
    flat.pbc = True
    near, across, thin = molecule.copy(), molecule.copy(), molecule.copy()
    near.positions[1] = near.positions[0] + 1e-4
    for atoms, cell in (across, 9 * np.eye(3)), (thin, [[9, 0, 0], [0, 9, 0], [9, 9, 0]]):
        atoms.cell[:], atoms.pbc = cell, True
    across.positions[1] = across.positions[0] + [0, 9, 0]
    good = as_text(molecule, **labels(molecule))
    gone = as_text(across, **labels(molecule)).replace("9.0 0.0", "nan 0.0", 1)
    empty = "0\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0.0\n"
    for bad, what in (
        (as_text(twice, **labels(molecule)), ": .* are at one point"),
        (as_text(near, **labels(molecule)), ": .* are at one point"),
        (as_text(across, **labels(molecule)), ": .* are at one point"),
        (as_text(flat, **labels(molecule)), ": the cell is periodic along a, b, c but has no ext"),
        (as_text(thin, **labels(molecule)), ": the cell is periodic along a, b, c but has no ext"),
        (gone, " has a cell vector that is not a finite number"),
        (empty, " has no atoms"),
        (good.replace("energy=", "energy=nan old="), " has an energy, force or position that is"),
    ):
        (tmp_path / "a.xyz").write_text(good + bad)
        with pytest.raises(DataError, match=rf"a\.xyz: structure 1 of those to read{what}"):
            load_frames(["a.xyz"], tmp_path)


def test_a_source_without_structures_is_named_beside_others(
    tmp_path: Path, data_folder: Path
) -> None:
    with pytest.raises(DataError, match=r"all\.extxyz#split=typo: no structures of which that is"):
        load_frames(["all.extxyz#split=typo", "all.extxyz"], data_folder)
    (tmp_path / "none.extxyz").write_text("")
    with pytest.raises(DataError, match=r"none\.extxyz: no structures"):
        load_frames(["none.extxyz", str(data_folder / "all.extxyz")], tmp_path)


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database " * 100)
    with pytest.raises(DataError, match=r"a\.db: structure 0 cannot be read \(DatabaseError"):
        load_frames(["a.db"], tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xyz.gz", b"\x1f\x8b\x08" + bytes(7) + 40 * b"\xff"),
        ("a.traj", b""),
        ("vasprun.xml", b'<?xml version="1.0"?><modeling><generator>'),
        ("OUTCAR", b"vasp.5.4.4\n"),
    ],
)
def test_what_a_parser_makes_of_a_damaged_file_is_told_with_its_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.* cannot be read"):
        load_frames([name], tmp_path)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.xyz").touch()

    def refuse(path: Path, *_: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.xyz: cannot be read \(Permission denied\)"):
        load_frames(["a.xyz"], tmp_path)


def test_an_at_sign_in_the_name_of_a_file_chooses_no_frames(
    tmp_path: Path, labeled: list[Atoms]
) -> None:
    write(tmp_path / "md", labeled[:2], format="traj")
    write(tmp_path / "md@1", labeled[:6], format="traj")
    assert len(load_frames(["md@1"], tmp_path)) == 6
