import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixLinearTriatomic,
    FixScaled,
    Hookean,
)

from tdncalc.workflows import velocities


def with_constraint(atoms, constraint):
    atoms.set_constraint(constraint)
    return atoms


def two(name):
    pair = molecule(name)
    pair.extend(molecule(name))
    pair.positions[len(pair) // 2 :, 0] += 5.0
    return pair


EVERY_PAIR = list(itertools.combinations(range(5), 2))  # ten, of which nine make five atoms rigid
NEXT_PAIRS = [(i + 5, j + 5) for i, j in EVERY_PAIR]


@pytest.mark.parametrize(
    ("atoms", "pushed", "free"),
    [
        (bulk("Cu", cubic=True), False, 9),
        (molecule("CH4"), False, 9),
        (molecule("CH4"), True, 12),
        (molecule("H2"), False, 1),
        (Atoms("Ar"), False, 3),
        (with_constraint(bulk("Cu", cubic=True), FixAtoms([0])), False, 9),
        (with_constraint(bulk("Cu", cubic=True), FixCom()), False, 9),
        (with_constraint(molecule("CH4"), FixCom()), False, 9),
        (with_constraint(molecule("CH4"), FixCom()), True, 12),
        (with_constraint(molecule("CH4"), FixBondLength(0, 1)), False, 8),
        (with_constraint(molecule("CH4"), FixBondLengths(EVERY_PAIR)), True, 3),
        (with_constraint(molecule("CH4"), FixBondLengths([*EVERY_PAIR[:6], (1, 0)])), True, 6),
        (with_constraint(two("CH4"), FixBondLengths([*EVERY_PAIR, *NEXT_PAIRS])), True, 9),
        (with_constraint(molecule("C2H6"), FixBondLengths(EVERY_PAIR[:4])), True, 17),
        (with_constraint(molecule("CO2"), FixLinearTriatomic([(1, 0, 2)])), False, 0),
        (with_constraint(molecule("CH4"), Hookean(0, 1, 5.0, 1.0)), False, 9),
        (with_constraint(molecule("CH4"), Hookean(0, [0, 0, 1], 5.0)), False, 15),
        (with_constraint(bulk("Cu", cubic=True), FixedPlane([0, 1], [0, 0, 1])), False, 8),
        (with_constraint(bulk("Cu", cubic=True), FixedPlane([0, 1], [0, 0, 1])), True, 10),
        (with_constraint(bulk("Cu", cubic=True), FixedLine([0], [1, 0, 0])), False, 9),
        (with_constraint(bulk("Cu", cubic=True), FixCartesian([0], (0, 1, 1))), False, 9),
        (with_constraint(bulk("Cu", cubic=True), FixScaled([0], (0, 0, 1))), False, 9),
        (with_constraint(molecule("CH4"), FixAtoms([0])), False, 12),
        (with_constraint(bulk("Cu", cubic=True), [FixAtoms([0, 1]), FixAtoms([1, 2])]), False, 3),
        (
            with_constraint(
                bulk("Cu", cubic=True),
                [FixedPlane([0, 1], [0, 0, 1]), FixCartesian([0], (1, 0, 1))],
            ),
            True,
            9,
        ),
        (
            with_constraint(molecule("CH4"), [FixAtoms([0, 1]), FixBondLengths([(0, 1), (0, 2)])]),
            False,
            8,
        ),
        (with_constraint(Atoms("Ar"), FixAtoms([0])), False, 0),
    ],
)
def test_free_momenta_are_counted(atoms, pushed, free):
    assert velocities.degrees_of_freedom(atoms, pushed=pushed) == free


@pytest.mark.parametrize("name", ["CH4", "CO2", "H2", "CH3CH2OH"])
def test_molecule_starts_at_rest_as_a_whole(name):
    atoms = molecule(name)
    atoms.translate([100.0, -50.0, 3.0])
    free = velocities.degrees_of_freedom(atoms, pushed=False)
    velocities.thermalize(atoms, 300.0, free, np.random.default_rng(0))
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-10)
    assert velocities.temperature(atoms, free) == pytest.approx(300.0)


def test_fixed_atoms_start_at_rest():
    atoms = with_constraint(bulk("Cu", cubic=True), FixAtoms([2]))
    free = velocities.degrees_of_freedom(atoms, pushed=False)
    velocities.thermalize(atoms, 300.0, free, np.random.default_rng(0))
    assert not atoms.get_momenta()[2].any()
    assert velocities.temperature(atoms, free) == pytest.approx(300.0)


def test_velocities_follow_the_masses():
    atoms = Atoms("HAu" * 500, np.arange(3000).reshape(-1, 3), cell=[9e3] * 3, pbc=True)
    free = velocities.degrees_of_freedom(atoms, pushed=False)
    velocities.thermalize(atoms, 300.0, free, np.random.default_rng(0))
    kinetic = (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses()
    ratio = kinetic[atoms.numbers == 1].mean() / kinetic[atoms.numbers == 79].mean()
    assert ratio == pytest.approx(1.0, abs=0.2)  # 1500 normal numbers each: σ = 0.05
