"""Which atoms of structures are bound."""

import numpy as np
from ase.build import bulk, molecule

from tdncalc.workflows import bonds as module
from tdncalc.workflows.bonds import Frame, find_bonds
from tdncalc.workflows.cell_modes import free_strain


def frame(atoms, cell="fixed"):
    fixed = np.arange(len(atoms)) == 1
    strain = free_strain(cell, len(atoms))
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, fixed, strain)


def test_bonds_of_molecules_are_those_that_a_search_finds(monkeypatch):
    frames = [frame(molecule(name)) for name in ("CH3CH2OH", "SiH4", "H", "C6H6", "Na2")]
    measured = find_bonds(frames)
    monkeypatch.setattr(module, "_FEW", 0)
    searched = find_bonds(frames)
    assert len(measured.i) > 100
    for name in ("i", "j", "vectors", "rho", "free"):
        np.testing.assert_array_equal(getattr(measured, name), getattr(searched, name))


def test_bonds_of_structures_follow_each_other():
    frames = [frame(bulk("Si", cubic=True), "full"), frame(bulk("Cu") * (2, 2, 1), "full")]
    both, first, second = find_bonds(frames), find_bonds(frames[:1]), find_bonds(frames[1:])
    np.testing.assert_array_equal(both.i, [*first.i, *(second.i + 11)])
    np.testing.assert_array_equal(both.rho, [*first.rho, *second.rho])
    np.testing.assert_array_equal(np.flatnonzero(both.free == 0), [1, 12])


def test_atoms_that_are_no_numbers_have_no_bonds():
    atoms = molecule("H2O")
    atoms.positions[0] = np.nan
    assert len(find_bonds([frame(atoms)]).i) == 0
