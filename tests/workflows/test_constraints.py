import pytest
from ase import Atoms

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
