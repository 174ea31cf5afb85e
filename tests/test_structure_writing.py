"""Every way out: formats, whole files or none, and nothing overwritten unasked."""

import errno
import os
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.spacegroup import crystal

from tdncalc.errors import OutputError, TDNError
from tdncalc.structures import read_inputs, require_new, write

ETHANOL = molecule("CH3CH2OH")
SILICON = bulk("Si", cubic=True)
MOLECULE_FILES = ["a.xyz", "a.extxyz", "a.extxyz.gz", "a.xyz.xz", "a.traj", "a.pdb", "a.sdf",
                  "a.mol", "a.json", "a.gen"]  # fmt: skip
CRYSTAL_FILES = ["a.extxyz", "a.cif", "a.cif.gz", "a.vasp", "POSCAR", "CONTCAR.gz", "a.pdb",
                 "a.traj", "a.json", "a.gen", "a.xsf"]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files():
    return sorted(os.listdir())


@pytest.mark.parametrize(
    ("name", "atoms"),
    [(name, ETHANOL) for name in MOLECULE_FILES] + [(name, SILICON) for name in CRYSTAL_FILES],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_written_can_be_read(name, atoms):
    write(name, atoms)
    assert files() == [name]
    (source,) = read_inputs([name])
    assert source.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert (source.atoms.pbc == atoms.pbc).all()
    np.testing.assert_allclose(
        source.atoms.get_all_distances(mic=atoms.pbc.all()),
        atoms.get_all_distances(mic=atoms.pbc.all()),
        atol=2e-3,
    )


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.cif", "a.pdb", "a.xsf", "a.json"])
def test_several_structures_go_into_one_file(name):
    write(name, [SILICON, SILICON])
    assert len(list(read_inputs([name]))) == 2


@pytest.mark.parametrize("name", ["a.pdb", "a.xsf"])
@pytest.mark.parametrize(
    ("second", "what"),
    [
        (molecule("CH3CHO"), "other atoms"),
        (Atoms(ETHANOL.symbols, ETHANOL.positions, cell=[9] * 3, pbc=True), "another periodicity"),
    ],
    ids=["elements", "periodicity"],
)
def test_frame_of_another_system_is_refused_in_a_file_of_one(name, second, what):
    first = ETHANOL[: len(second)]
    with pytest.raises(OutputError, match=f"{name}: a frame has {what} .* use .extxyz or .traj"):
        write(name, [first, second])
    assert files() == []


@pytest.mark.parametrize("name", ["POSCAR", "a.sdf", "a.gen"])
def test_several_structures_for_a_format_of_one_are_refused(name):
    with pytest.raises(OutputError, match=f"{name}: format .* holds one structure, not 2; use"):
        write(name, [SILICON, SILICON])
    assert files() == []


def test_results_are_written():
    atoms = ETHANOL.copy()
    forces = np.arange(27.0).reshape(9, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=forces)
    write("a.extxyz", atoms)
    (source,) = read_inputs(["a.extxyz"])
    assert source.atoms.get_potential_energy() == -1.5
    np.testing.assert_array_equal(source.atoms.get_forces(), forces)


@pytest.mark.parametrize("name", ["b.extxyz", "b.traj", "b.vasp", "b.json", "b.pdb"])
def test_what_a_cif_file_adds_is_no_trouble_in_other_formats(name):
    diamond = crystal("C", [(0, 0, 0)], spacegroup=227, cellpar=[3.57] * 3 + [90] * 3)
    write("a.cif", diamond)
    (source,) = read_inputs(["a.cif"])
    write(name, source.atoms)
    (again,) = read_inputs([name])
    assert len(again.atoms) == 8


def test_no_structures_are_refused():
    with pytest.raises(OutputError, match=r"a.xyz: there is no structure to write"):
        write("a.xyz", [])


@pytest.mark.parametrize("name", ["a.png", "a", "a.", "a.csv", "a.py", "extxyz"])
def test_unknown_format_is_refused(name):
    with pytest.raises(OutputError, match=f"{name}: no known format; use .extxyz, "):
        write(name, ETHANOL)
    assert files() == []


def test_existing_file_is_kept():
    Path("a.xyz").write_text("precious")
    with pytest.raises(OutputError, match=r"a.xyz: exists already; use --overwrite") as refused:
        write("a.xyz", ETHANOL)
    assert "--resume" not in str(refused.value)  # there is no run to go on with
    assert Path("a.xyz").read_text() == "precious"


def test_existing_file_is_replaced_on_request():
    Path("a.xyz").write_text("old")
    write("a.xyz", ETHANOL, overwrite=True)
    assert len(ase.io.read("a.xyz")) == 9


def test_link_is_kept_and_its_file_replaced():
    Path("folder").mkdir()
    Path("folder/real.xyz").write_text("old")
    Path("a.xyz").symlink_to("folder/real.xyz")
    write("a.xyz", ETHANOL, overwrite=True)
    assert Path("a.xyz").is_symlink()
    assert len(ase.io.read("folder/real.xyz")) == 9


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_a_file_is_never_replaced(overwrite):
    Path("folder.xyz").mkdir()
    os.mkfifo("pipe.xyz")
    for name in ("folder.xyz", "pipe.xyz", "/dev/null"):
        with pytest.raises(OutputError, match=f"{name}: is not a file"):
            require_new([Path(name)], overwrite=overwrite)


@pytest.mark.parametrize(
    ("path", "cause"),
    [("missing/a.xyz", "folder missing does not exist"), ("file/a.xyz", "file is not a folder")],
)
def test_folder_that_cannot_take_the_file_is_named(path, cause):
    Path("file").write_text("")
    with pytest.raises(OutputError, match=f"{path}: .*{cause}"):
        write(path, ETHANOL)
    with pytest.raises(OutputError, match=f"{path}: .*{cause}"):
        require_new([Path(path)], overwrite=True)


def test_folder_without_permission_is_named(monkeypatch):
    # Root may write everywhere, so the system is asked in its place.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match=r"a.xyz: its folder . cannot be written"):
        write("a.xyz", ETHANOL)
    assert files() == []


def test_read_only_file_system_is_named():
    with pytest.raises(OutputError, match=r"/proc/a.xyz: "):
        write("/proc/a.xyz", ETHANOL)


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.cif"])
@pytest.mark.parametrize("existing", [None, "old"])
def test_full_disk_leaves_what_was_there(name, existing, monkeypatch):
    if existing:
        Path(name).write_text(existing)
    before = files()

    def fail(filename, images, format=None):
        Path(filename).write_text("half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ase.io, "write", fail)
    with pytest.raises(OutputError, match=f"{name}: cannot be written .No space left on device"):
        write(name, SILICON, overwrite=True)
    assert files() == before
    assert not existing or Path(name).read_text() == existing


def test_file_is_replaced_in_one_step():
    write("a.xyz", ETHANOL)
    with open("a.xyz") as reader:
        write("a.xyz", SILICON, overwrite=True)
        assert reader.readline() == "9\n"


def test_warning_of_a_writer_is_no_trouble(monkeypatch):
    def warn(filename, images, format=None):
        warnings.warn("obscure", UserWarning, stacklevel=1)
        Path(filename).write_text("done")

    monkeypatch.setattr(ase.io, "write", warn)
    write("a.xyz", ETHANOL)
    assert Path("a.xyz").read_text() == "done"


def test_interrupted_write_leaves_nothing(monkeypatch):
    def interrupt(filename, images, format=None):
        Path(filename).write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(ase.io, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write("a.xyz", ETHANOL)
    assert files() == []


def test_what_a_writer_cannot_write_is_said_in_one_line(monkeypatch):
    def refuse(filename, images, format=None):
        raise AssertionError

    monkeypatch.setattr(ase.io, "write", refuse)
    with pytest.raises(OutputError, match=r"a.xsf: cannot be written as xsf \(") as raised:
        write("a.xsf", SILICON)
    assert len(str(raised.value).splitlines()) == 1
    assert files() == []


ROOM = {"a.pdb": (-999.999, 9999.999), "a.sdf": (-9999.9999, 99999.9999)}


@pytest.mark.parametrize("name", ROOM)
def test_coordinates_are_written_as_far_as_the_columns_are_wide(name):
    for x in ROOM[name]:
        write(name, Atoms("HO", [[0.0, 0.0, 0.0], [0.0, x, 0.0]]), overwrite=True)
        (source,) = read_inputs([name])
        assert source.atoms.positions[1, 1] == x


@pytest.mark.parametrize("beyond", [-0.001, 0.001])
@pytest.mark.parametrize("name", ROOM)
def test_coordinate_wider_than_its_columns_is_refused(name, beyond):
    far = Atoms("HO", [[0.0, 0.0, 0.0], [0.0, ROOM[name][beyond > 0] + beyond, 0.0]])
    with pytest.raises(OutputError, match=rf"^{name}: O \(atom 1\) .* room for -999.* use .extxyz"):
        write(name, [Atoms("H"), far] if name == "a.pdb" else far)
    assert files() == []


def test_coordinate_is_measured_as_pdb_turns_the_cell():
    cell = [[0, -5001, 0], [9, 0, 0], [0, 0, 9]]  # its first vector will lie along x
    write("a.pdb", Atoms("H", [[0.0, -5000.0, 0.0]], cell=cell, pbc=True))
    with pytest.raises(OutputError, match=r"coordinate of -5000.000 Å"):
        write("b.pdb", Atoms("H", [[0.0, 5000.0, 0.0]], cell=cell, pbc=True))


def test_two_results_of_one_name_are_refused():
    with pytest.raises(OutputError, match=r"x-relaxed.extxyz: two results have this name"):
        require_new([Path("x-relaxed.extxyz"), Path("./x-relaxed.extxyz")], overwrite=True)


def test_new_files_in_a_folder_that_exists_pass():
    require_new([Path("a.xyz"), Path("b.xyz")], overwrite=False)
    assert files() == []


def test_output_error_is_also_an_os_error():
    with pytest.raises(OSError, match=r"does not exist") as raised:
        write("missing/a.xyz", ETHANOL)
    assert isinstance(raised.value, TDNError)
