import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    FixInternals,
    Hookean,
)

from tdncalc import MDSettings, RelaxSettings, relax, run_md
from tdncalc.errors import OptionError
from tdncalc.workflows.constraints import parse_fix

ATOMS = Atoms("PtOHPtH", [[0, 0, 0], [0, 0, 2], [0, 1, 3], [2, 0, 5], [0, 0, -1]])


@pytest.mark.parametrize(
    ("spec", "indices"),
    [
        ("0", [0]),
        ("0-2,4", [0, 1, 2, 4]),
        (" 1 , 3 ", [1, 3]),
        ("3,3,1-3", [1, 2, 3]),
        ("Pt", [0, 3]),
        ("Pt,H", [0, 2, 3, 4]),
        ("O,0", [0, 1]),
        ("z<2", [0, 4]),
        ("z<=2", [0, 1, 4]),
        ("z > 2.5", [2, 3]),
        ("x>=2", [3]),
        ("y>-1e-3", [0, 1, 2, 3, 4]),
    ],
)
def test_words_choose_atoms(spec, indices):
    assert parse_fix(spec, ATOMS).index.tolist() == indices


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "is neither atoms like '0-9,15'"),
        ("0,", "is neither"),
        ("Xx", "'Xx' is neither"),
        ("pt", "'pt' is neither"),
        ("z=2", "is neither"),
        ("w<2", "is neither"),
        ("-1", "is neither"),
        ("5", "atoms 5 are not among 0-4"),
        ("0-9", "atoms 0-9 are not among 0-4"),
        ("3-1", "the range 3-1 runs backwards; write 1-3"),
        ("Au", "no atom of the structure is there"),
        ("z<-5", "no atom of the structure is there"),
    ],
)
def test_other_words_are_refused(spec, message):
    with pytest.raises(OptionError, match=message):
        parse_fix(spec, ATOMS)


@pytest.mark.parametrize(
    ("constraints", "shared"),
    [
        ([FixAtoms([0]), FixBondLengths([(0, 1)])], "FixAtoms and FixBondLengths share atom 0"),
        ([FixBondLengths([(1, 2)]), FixedPlane(2, (0, 0, 1))], "share atom 2"),
        ([FixBondLengths([(0, 1)]), FixBondLengths([(1, 2)])], "share atom 1"),
        ([FixInternals(bonds=[[1.4, [0, 1]]]), FixCartesian([1])], "share atom 1"),
        ([FixCom(), FixAtoms([3])], "FixCom and FixAtoms share atom 3"),
    ],
)
def test_constraints_that_would_undo_each_other_are_refused(constraints, shared):
    methanol = molecule("CH3OH")
    methanol.set_constraint(constraints)
    with pytest.raises(OptionError, match=shared):
        relax(methanol)
    with pytest.raises(OptionError, match=r"share atom|has no temperature"):
        run_md(methanol, settings=MDSettings(1))


@pytest.mark.parametrize(
    "constraints",
    [
        [FixAtoms([3]), FixBondLengths([(0, 1)])],
        [FixAtoms([0, 1]), FixCartesian([1])],
        [FixCom(), FixBondLengths([(0, 1)])],
        [Hookean(4, (0, 0, 0), k=1.0, rt=0.1), FixBondLengths([(0, 1)])],
        [Hookean(4, (0, 0, 1, -1), k=1.0), FixBondLengths([(0, 1)])],
    ],
)
def test_constraints_of_other_atoms_go_together(constraints):
    methanol = molecule("CH3OH")
    methanol.set_constraint(constraints)
    assert relax(methanol, settings=RelaxSettings(steps=2)).steps == 2
    assert run_md(methanol, settings=MDSettings(2)).reason == "done"
