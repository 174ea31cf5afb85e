"""What formats keep of a structure, what they do not, and trajectories for viewers."""

import sys

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    FixScaled,
    Hookean,
)

from tdncalc.errors import OutputError, StructureError
from tdncalc.structures import read_inputs, write

chemfiles = pytest.importorskip("chemfiles")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slab() -> Atoms:
    """Fixed and partly fixed atoms, velocities, charges, a name and results."""
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6, periodic=True)
    atoms.info = {"name": "slab"}
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.set_velocities(np.random.default_rng(1).normal(size=(8, 3)))
    atoms.set_initial_charges(np.linspace(-0.4, 0.4, 8))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.ones((8, 3)))
    return atoms


def read(name) -> Atoms:
    (source,) = read_inputs([name])
    return source.atoms


@pytest.mark.parametrize("name", ["a.extxyz", "a.extxyz.gz", "a.xyz.xz", "a.traj", "a.json"])
def test_everything_is_kept(name, slab, caplog):
    write(name, slab)
    atoms = read(name)
    assert atoms.constraints[0].get_indices().tolist() == [0, 1]
    np.testing.assert_allclose(atoms.get_velocities(), slab.get_velocities(), atol=1e-6)
    np.testing.assert_allclose(atoms.get_initial_charges(), slab.get_initial_charges(), atol=1e-6)
    assert atoms.get_potential_energy() == -1.5
    if name.endswith("json"):
        assert caplog.records[0].message == "a.json: has no place for 'name'; .extxyz and .traj do"
    else:
        assert atoms.info["name"] == "slab"
        assert caplog.text == ""


def test_what_a_later_structure_loses_is_told(slab, caplog):
    later = slab.copy()
    later.arrays["site"] = np.arange(len(later))
    write("a.traj", [slab, later])
    assert [r.message for r in caplog.records] == ["a.traj: has no place for 'site'; .extxyz does"]


LOST = {
    "POSCAR": "energy and forces, charges",
    "a.cif": "energy and forces, velocities, constraints, charges",
    "a.pdb": "energy and forces, velocities, constraints, charges",
    "a.sdf": "cell, energy and forces, velocities, constraints, charges",
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_told_in_one_line(name, slab, caplog):
    write(name, slab)
    (record,) = caplog.records
    assert record.message == f"{name}: has no place for {LOST[name]}; .extxyz and .traj do"


@pytest.mark.parametrize("name", ["a.pdb", "a.sdf", "a.gen", "a.json", "a.traj", "a.extxyz"])
def test_a_lost_total_charge_is_told(name, caplog):
    write(name, Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], info={"charge": -1}))
    kept = read(name).info.get("charge") == -1
    told = {"a.json": "a.json: has no place for 'charge'"}.get(name, "total charge")
    assert (told in caplog.text) == (not kept)
    write("b.pdb", Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], info={"charge": 0}))
    assert "b.pdb" not in caplog.text


@pytest.mark.parametrize("pbc", [False, [True, False, False], True], ids=["none", "one", "all"])
@pytest.mark.parametrize("name", ["a.pdb", "a.gen", "a.xsf", "a.cif", "a.json", "a.extxyz"])
def test_a_lost_cell_is_told(name, pbc, caplog):
    write(name, Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], cell=[5, 6, 7], pbc=pbc))
    kept = read(name).cell.rank == 3
    assert ("has no place for cell" in caplog.text) == (not kept)
    assert kept or not np.any(pbc)


@pytest.mark.parametrize("name", ["a.traj", "a.json"])
def test_columns_that_only_extxyz_has_are_told(name, slab, caplog):
    slab.arrays["site"] = np.arange(len(slab))
    slab.info = {}
    write(name, slab)
    assert "site" not in read(name).arrays
    assert caplog.records[0].message == f"{name}: has no place for 'site'; .extxyz does"


@pytest.mark.parametrize("pbc", [[True, True, False], [False, False, False]], ids=["slab", "box"])
@pytest.mark.parametrize("name", ["a.vasp", "a.cif", "a.gen", "a.pdb", "a.xsf", "a.extxyz"])
def test_lost_directions_and_moments_are_told(name, pbc, caplog):
    iron = bulk("Fe", cubic=True)
    iron.pbc = pbc
    iron.set_initial_magnetic_moments([2.2, 2.2])
    write(name, iron)
    back = read(name)
    lost = {
        "directions without periodicity": back.pbc.tolist() != pbc,
        "magnetic moments": not back.get_initial_magnetic_moments().any(),
    }
    for what, gone in lost.items():
        assert (what in caplog.text) == gone


@pytest.mark.parametrize("name", ["a.cif", "a.pdb", "a.vasp", "a.gen", "a.xsf", "a.extxyz"])
def test_a_left_handed_cell_keeps_the_hand_of_its_molecule(name):
    def hand(atoms):
        return np.linalg.det(atoms.get_distances(0, [1, 2, 3], mic=True, vector=True))

    chiral = Atoms("CHFCl", [[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.5]], pbc=True)
    chiral.cell = np.diag([12.0, 11, 10])[[1, 0, 2]]
    chiral.positions += 4.0
    write(name, chiral)
    assert hand(read(name)) == pytest.approx(hand(chiral), rel=1e-2)


def test_text_that_is_not_utf_8_is_told_so():
    with open("a.xyz", "wb") as file:
        file.write(b"1\nmol\xe9cule\nH 0 0 0\n")
    with pytest.raises(StructureError, match=r"a.xyz: is not text in UTF-8; convert it"):
        list(read_inputs(["a.xyz"]))
    with open("b.xyz", "wb") as file:
        file.write(b"\xef\xbb\xbf1\n\nH 0 0 0\n")
    with pytest.raises(StructureError, match=r"b.xyz: cannot .* begins with a byte order mark"):
        list(read_inputs(["b.xyz"]))


def test_selective_dynamics_come_back_from_poscar():
    atoms = bulk("Si", cubic=True)
    atoms.set_constraint([FixScaled([2], (True, False, True)), FixAtoms([0, 1])])
    write("POSCAR", atoms)
    found = {type(c): c for c in read("POSCAR").constraints}
    assert found[FixAtoms].get_indices().tolist() == [0, 1]
    assert found[FixScaled].mask.tolist() == [True, False, True]


NOT_FREE = {
    "atoms": FixAtoms([0]),
    "scaled": FixScaled([2], (True, False, True)),
    "components": FixCartesian([2], (True, False, True)),
    "plane": FixedPlane([0], (0, 0, 1)),
    "bond": FixBondLengths([[0, 1]]),
    "spring": Hookean(0, 1, 5.0, rt=1.0),
    "center": FixCom(),
}


@pytest.mark.parametrize("kind", NOT_FREE)
@pytest.mark.parametrize("name", ["a.extxyz", "POSCAR", "a.pdb", "a.traj"])
def test_constraints_are_told_of_where_they_are_lost(name, kind, caplog):
    atoms = bulk("Si", cubic=True)
    atoms.set_constraint(NOT_FREE[kind])
    write(name, atoms)
    assert ("no place for constraints" in caplog.text) == (not read(name).constraints)
    kept = ".extxyz and .traj do" if kind in ("atoms", "components") else ".traj does"
    assert caplog.text == "" or f"; {kept}\n" in caplog.text


def test_constraints_that_extxyz_does_keep_are_named(caplog):
    atoms = bulk("Si", cubic=True)
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    write("a.extxyz", atoms)
    expected = "no place for constraints other than fixed atoms and Cartesian components; .traj"
    assert expected in caplog.text


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.vasp.gz"])
def test_molecule_is_not_written_as_a_crystal(name, here):
    with pytest.raises(OutputError, match=f"{name}: the format is for crystals"):
        write(name, molecule("H2O"))
    assert list(here.iterdir()) == []


def frames_of(name):
    with chemfiles.Trajectory(name) as file:
        for _ in range(file.nsteps):
            frame = file.read()
            yield frame.positions.copy(), frame.cell.lengths, frame.cell.angles


@pytest.mark.parametrize("name", ["run.dcd", "run.xtc"])
def test_viewers_get_positions_and_cells_of_every_frame(name):
    start = bulk("Cu")  # its first vector does not lie along x
    frames = []
    for seed in range(3):
        atoms = start * (2, 2, 2)
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * seed), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    write(name, frames)
    digits = 1e-4 if name.endswith("dcd") else 1e-2  # XTC stores 0.01 Å
    for atoms, (positions, lengths, angles) in zip(frames, frames_of(name), strict=True):
        seen = Atoms("Cu8", positions, cell=[*lengths, *angles], pbc=True)
        np.testing.assert_allclose(
            seen.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=digits
        )
        np.testing.assert_allclose([*lengths, *angles], atoms.cell.cellpar(), atol=digits)


@pytest.mark.parametrize("name", ["run.dcd", "run.xtc"])
def test_viewers_get_molecules_without_a_cell(name):
    water = molecule("H2O")
    write(name, [water, water])
    assert len(list(frames_of(name))) == 2
    np.testing.assert_allclose(next(frames_of(name))[0], water.positions, atol=6e-3)


def test_other_atoms_in_a_frame_are_refused(here):
    with pytest.raises(OutputError, match=r"run.xtc: frame 1 has other atoms"):
        write("run.xtc", [molecule("H2O"), molecule("CH4")])
    assert list(here.iterdir()) == []


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "chemfiles", None)
    with pytest.raises(OutputError, match=r"pip install 'tdncalc\[viewers\]'"):
        write("run.xtc", molecule("H2O"))


def test_unwritable_viewer_file_is_one_line():
    with pytest.raises(OutputError, match=r"/proc/run.xtc: "):
        write("/proc/run.xtc", molecule("H2O"))


def test_written_poscar_keeps_the_order_of_elements():
    atoms = Atoms("HOH", [[0, 0, 0], [1, 0, 0], [2, 0, 0]], cell=[9, 9, 9], pbc=True)
    write("POSCAR", atoms)
    assert str(ase.io.read("POSCAR").symbols) == "HOH"


@pytest.mark.parametrize("pbc", [(0, 0, 1), (1, 0, 1), (0, 1, 1)])
def test_xsf_is_refused_for_directions_that_it_has_no_word_for(pbc):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[4, 5, 6], pbc=pbc)
    with pytest.raises(OutputError, match=r"^a.xsf: the format is for structures periodic along"):
        write("a.xsf", atoms)


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_xsf_keeps_directions_that_it_has_a_word_for(pbc):
    write("a.xsf", Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[4, 5, 6], pbc=pbc))
    assert read("a.xsf").pbc.tolist() == [bool(periodic) for periodic in pbc]
