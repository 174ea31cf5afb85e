"""What a structure must be, and the way to pymatgen and back."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from pymatgen.core import Lattice, Molecule, Structure

from tdncalc.errors import StructureError
from tdncalc.structures import check, check_elements, like, to_atoms
from tests.structures import NAMES, structure


def moved(atoms, atom, position):
    atoms.positions[atom] = position
    return atoms


def in_cell(cell, pbc=True):
    return Atoms("Si2", [[0, 0, 0], [1, 1, 1]], cell=cell, pbc=pbc)


def images_at_one_point():
    atoms = structure("skewed cell")
    atoms.positions[1] = atoms.positions[0] + np.array([3, -5, 2]) @ atoms.cell.array + 2e-4
    return atoms


CANNOT_BE_USED = {
    "no atoms": (Atoms(), "has no atoms"),
    "NaN": (moved(molecule("H2O"), 2, np.nan), r"position of H \(atom 2\) is NaN or infinite"),
    "infinite": (moved(molecule("H2O"), 0, np.inf), r"position of O \(atom 0\) is NaN or infinite"),
    "NaN cell": (in_cell([4, 4, np.nan]), "a cell vector is NaN or infinite"),
    "one point": (
        moved(molecule("CH4"), 3, molecule("CH4").positions[1]),
        r"H \(atom 1\) and H \(atom 3\) are at one point",
    ),
    "one point through the boundary": (
        images_at_one_point(),
        r"Si \(atom 0\) and Si \(atom 1\) are at one point",
    ),
    "one point either side of the boundary": (
        Atoms("CN", [[0, 0, 1e-5], [0, 0, 4 - 1e-5]], cell=[4, 4, 4], pbc=(False, False, True)),
        r"C \(atom 0\) and N \(atom 1\) are at one point",
    ),
    "no cell": (in_cell(None), "periodic along a, b, c but has no extent"),
    "zero vector": (in_cell([4, 4, 0], (True, False, True)), "periodic along a, c"),
    "dependent vectors": (in_cell([[4, 0, 0], [0, 4, 0], [4, 4, 0]]), "no extent"),
}


@pytest.mark.parametrize("name", CANNOT_BE_USED)
def test_structure_that_cannot_be_used_is_refused_in_one_line(name):
    atoms, culprit = CANNOT_BE_USED[name]
    with pytest.raises(StructureError, match=f"^box.xyz: .*{culprit}") as raised:
        check(atoms, "box.xyz")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_awkward_structure_can_be_used_and_is_left_as_it_is(name):
    atoms = structure(name)
    check(atoms)
    assert atoms == structure(name)


def test_same_point_in_different_images_is_no_trouble_without_pbc():
    atoms = in_cell([3, 3, 3], pbc=False)
    atoms.positions = [[0, 0, 0], [3, 0, 0]]
    check(atoms)


@pytest.mark.parametrize("shift", [0.0, -1e-17, 4.0, -4.0])
def test_atoms_on_the_cell_wall_can_be_used(shift):
    check(Atoms("CN", [[shift, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True))


def test_unknown_element_is_named_with_its_atom_and_the_remedy():
    numbers = np.array([6, 1, 1, 82, 54])
    with pytest.raises(StructureError) as raised:
        check_elements(numbers, ["H", "C"], "organic", "benzene.xyz")
    assert str(raised.value) == (
        "benzene.xyz: element Pb (atom 3) is not in model 'organic' (H C); see 'tdn models list'"
    )


def test_known_elements_pass():
    check_elements(
        structure("all elements").numbers, ["H", *"BCNOFPSI", "Si", "Cl", "Br"], "m", "s"
    )


def test_atoms_are_not_converted():
    atoms = molecule("H2O")
    assert to_atoms(atoms) is atoms
    assert like(atoms, atoms) is atoms


@pytest.fixture
def crystal():
    lattice = Lattice.from_parameters(4.0, 5.0, 6.0, 80, 95, 110)
    return Structure(
        lattice,
        ["Si4+", "C"],
        [[0.1, 0.2, 1.3], [0.5, 0.6, 0.7]],
        site_properties={"magmom": [1.0, 2.0]},
        labels=["A1", "B1"],
        charge=4,
    )


def test_crystal_becomes_atoms_and_back(crystal):
    atoms = to_atoms(crystal)
    assert type(atoms) is Atoms
    assert atoms.get_chemical_symbols() == ["Si", "C"]
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.positions, crystal.cart_coords)
    assert like(crystal, atoms) == crystal


def test_crystal_keeps_what_atoms_do_not_have(crystal):
    atoms = to_atoms(crystal)
    atoms.positions += 0.1
    atoms.set_cell(atoms.cell.array * 1.01)
    back = like(crystal, atoms)
    assert type(back) is Structure
    assert back.species == crystal.species
    assert back.labels == crystal.labels
    assert back.charge == 4
    assert back.site_properties == crystal.site_properties
    np.testing.assert_allclose(back.cart_coords, atoms.positions)
    np.testing.assert_allclose(back.lattice.matrix, atoms.cell.array)


def test_deuterium_of_pymatgen_keeps_its_mass():
    water = Molecule(["O", "D", "H"], [[0, 0, 0], [0, 0, 0.96], [0, 0.93, -0.24]])
    crystal = Structure(Lattice.cubic(4), ["O2-", "H+", "D+"], water.cart_coords / 4)
    assert to_atoms(water).symbols.get_chemical_formula() == "H2O"
    assert to_atoms(water).get_masses() == pytest.approx([15.999, 2.014, 1.008], abs=1e-3)
    assert to_atoms(crystal).get_masses() == pytest.approx([15.999, 1.008, 2.014], abs=1e-3)


def test_slab_of_pymatgen_keeps_its_periodicity():
    slab = Structure(Lattice(np.eye(3) * 5, pbc=(True, True, False)), ["C"], [[0, 0, 0.5]])
    atoms = to_atoms(slab)
    assert atoms.pbc.tolist() == [True, True, False]
    assert like(slab, atoms).lattice.pbc == (True, True, False)


def test_molecule_becomes_atoms_and_back():
    cation = Molecule(
        ["N", "H"], [[0, 0, 0], [0, 0, 1.0]], charge=1, spin_multiplicity=4, labels=["n", "h"]
    )
    atoms = to_atoms(cation)
    assert not atoms.pbc.any()
    assert atoms.info["charge"] == 1
    atoms.positions[1, 2] = 1.1
    back = like(cation, atoms)
    assert type(back) is Molecule
    assert (back.charge, back.spin_multiplicity, back.labels) == (1, 4, ["n", "h"])
    assert back.cart_coords[1, 2] == 1.1


def test_immutable_and_own_classes_of_pymatgen_come_back_as_they_are(crystal):
    from pymatgen.core import IStructure

    class Mine(Structure):
        pass

    for kind in (IStructure, Mine):
        given = kind.from_sites(crystal.sites)
        assert type(like(given, to_atoms(given))) is kind


def test_selective_dynamics_become_constraints():
    atoms = to_atoms(
        Structure(
            Lattice.cubic(4),
            ["C", "O"],
            [[0, 0, 0], [0.5, 0.5, 0.5]],
            site_properties={"selective_dynamics": [[False] * 3, [True] * 3]},
        )
    )
    (fixed,) = atoms.constraints
    assert isinstance(fixed, FixAtoms)
    assert fixed.get_indices().tolist() == [0]


def test_partial_occupancy_is_refused():
    alloy = Structure(Lattice.cubic(3), [{"Si": 0.5, "C": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="partially occupied"):
        to_atoms(alloy)


@pytest.mark.parametrize("thing", ["aspirin.xyz", None, [molecule("H2O")], np.eye(3)])
def test_another_type_is_refused_by_name(thing):
    with pytest.raises(StructureError, match=f"given as {type(thing).__name__}; give an ase.Atoms"):
        to_atoms(thing)


def test_atoms_do_not_import_pymatgen(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pymatgen"]:
        monkeypatch.setitem(sys.modules, name, None)
    atoms = bulk("Si")
    assert like(to_atoms(atoms), atoms) is atoms
