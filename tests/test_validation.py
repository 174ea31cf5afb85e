"""The comparisons of models with references, on cases whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def rotated(atoms, order):
    turned = atoms[order]
    turned.rotate(73, (1, 2, 3))
    turned.positions += (4.0, -5.0, 6.0)
    return turned


def exchanged_with_hydrogens(atoms, carbons):
    near = atoms.get_all_distances() < 1.2
    groups = [[i, *np.flatnonzero(near[i] & (atoms.numbers == 1))] for i in carbons]
    order = np.arange(len(atoms))
    order[groups[0]], order[groups[1]] = groups[1], groups[0]
    return order


def test_exchanged_equivalent_atoms_are_no_difference():
    from harness.superposition import best_rmsd, rmsd

    atoms = molecule("isobutane")
    heavy = np.flatnonzero(atoms.numbers == 6)
    near = atoms.get_all_distances()[np.ix_(heavy, heavy)] < 1.6
    methyls = heavy[near.sum(1) == 2]
    swapped = rotated(atoms, exchanged_with_hydrogens(atoms, methyls[:2]))
    assert rmsd(atoms.positions[heavy], swapped.positions[heavy]) > 0.1
    assert best_rmsd(atoms, swapped) == pytest.approx(0, abs=1e-6)


def test_atoms_that_are_not_equivalent_are_not_exchanged():
    from harness.superposition import best_rmsd

    atoms = molecule("CH3CH2OH")
    swapped = atoms.copy()
    carbons = np.flatnonzero(atoms.numbers == 6)
    swapped.positions[carbons] = atoms.positions[carbons[::-1]]
    assert best_rmsd(atoms, swapped) > 0.1


def test_mirror_images_are_not_superposed():
    from harness.superposition import rmsd

    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    assert rmsd(positions, positions * (1, 1, -1)) > 0.3
    assert rmsd(positions, positions[:, [1, 2, 0]]) == pytest.approx(0, abs=1e-6)


def test_displacement_is_split_into_soft_and_stiff_vibrations():
    from harness.superposition import soft_part

    methane, random = molecule("CH4"), np.random.default_rng(0).normal(size=(15, 9))
    inner = np.linalg.qr(np.hstack([rigid_motions(methane), random]))[0][:, 6:]
    hessian = inner @ np.diag(np.arange(1.0, 10.0)) @ inner.T
    moved = methane.copy()
    moved.positions += 0.01 * (inner[:, 0] + 2 * inner[:, 8]).reshape(5, 3)
    assert soft_part(methane, moved, hessian) == pytest.approx(0.2, abs=0.01)


def rigid_motions(atoms):
    shifts = [np.tile(axis, len(atoms)) for axis in np.eye(3)]
    turns = [np.cross(axis, atoms.positions).ravel() for axis in np.eye(3)]
    return np.array(shifts + turns).T


@pytest.mark.parametrize(
    ("name", "number"), [("C6H6", 0), ("CH3CH2OH", 0), ("trans-butane", 1), ("butadiene", 1)]
)
def test_bonds_that_turn_are_counted(name, number):
    from harness.superposition import rotatable

    assert rotatable(molecule(name)) == number


def test_angles_of_water_are_one():
    from harness.superposition import angles, bond_angles

    water = molecule("H2O")
    assert bond_angles(water) == [(1, 0, 2)]
    assert angles(water, bond_angles(water)) == pytest.approx([103.999], abs=0.01)


def test_settling_ends_at_the_minimum_of_its_calculator():
    from harness.minima import curvature, settle

    atoms = Atoms("Ar3", [(0, 0, 0), (1.2, 0, 0), (0.5, 1.0, 0.1)])
    minimum = settle(atoms, LennardJones(rc=50), LennardJones(rc=50))
    sides = minimum.get_all_distances()[np.triu_indices(3, 1)]
    assert sides == pytest.approx(2 ** (1 / 6), abs=1e-4)
    assert np.abs(minimum.get_forces()).max() < 0.002
    stiffness = np.linalg.eigvalsh(curvature(minimum, LennardJones(rc=50)))
    assert np.sum(np.abs(stiffness) < 0.1) == 6


def test_kept_results_are_those_of_the_same_structure_only(tmp_path):
    from harness.minima import Kept, frozen

    calls = []

    def compute(atoms):
        calls.append(len(atoms))
        atoms = atoms.copy()
        atoms.calc = LennardJones()
        return frozen(atoms)

    kept = Kept(tmp_path / "kept")
    one, other = (Atoms("Ar2", [(0, 0, 0), (0, 0, z)]) for z in (1.1, 1.2))
    first = [kept("a", atoms, lambda atoms=atoms: compute(atoms)) for atoms in (one, other)]
    again = kept("a", one, lambda: pytest.fail("computed again"))
    assert len(calls) == 2
    assert again.get_potential_energy() == first[0].get_potential_energy()
    assert first[1].get_potential_energy() != first[0].get_potential_energy()


def test_profile_error_does_not_depend_on_the_zero_of_energy():
    from harness.torsion import profile_error

    true = np.array([0.0, 1.0, 3.0, 1.0])
    assert profile_error(true + 7, true - 5) == pytest.approx(0)
    assert profile_error(2 * true, true) == pytest.approx(1.25)


def test_a_bond_turns_as_two_pieces():
    from harness.torsion import turned

    butane = molecule("trans-butane")
    four = (0, 1, 2, 3)  # the carbons along the chain
    gauche = turned(butane, four, 60)
    assert gauche.get_dihedral(*four) == pytest.approx(60)
    near = butane.get_all_distances() < 1.6
    assert gauche.get_all_distances()[near] == pytest.approx(butane.get_all_distances()[near])


def test_dimers_of_s66_are_66_with_three_of_pyridine():
    from harness.s66 import MONOMERS, dimers

    found = dimers()
    assert len(found) == 66
    assert {name for pair in found for name in pair[:2]} == set(MONOMERS)
    assert [pair for pair in found if pair[2] == 2] == [("pyridine", "pyridine", 2)]


def test_findings_name_the_weights(tmp_path):
    from harness.findings import write_findings

    from tdncalc.cards import read_card

    write_findings(tmp_path / "f.json", "torsions", "organic", {"summary": {"MAE_kcal": 0.1}})
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["sha256"] == read_card("organic")["sha256"]
    assert found["summary"] == {"MAE_kcal": 0.1}
