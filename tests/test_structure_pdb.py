"""PDB files: models and their cell, elements of atoms, alternate locations."""

from pathlib import Path

import numpy as np
import pytest

from tdncalc.errors import StructureError
from tdncalc.structures import read_inputs

HETATM = (
    "HETATM    1 {name:<4}{alternate}{residue:>3} A   1    {x:8.3f}   0.000   0.000"
    "{occupancy:6.2f}  0.00          {symbol:>2}\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line(name, alternate, x, occupancy=0.5, residue="HOH"):
    symbol = name.strip()[0]
    return HETATM.format(**locals())


def read(text):
    Path("a.pdb").write_text(text)
    return [source.atoms for source in read_inputs(["a.pdb"])]


@pytest.mark.parametrize("residue", ["HOH", "DOD"])
@pytest.mark.parametrize("alternates", ["AB", " B"])
def test_alternate_locations_of_an_atom_are_refused(alternates, residue):
    first, second = alternates
    text = line(" O", " ", 0.0) + line(" H1", first, 0.9) + line(" H1", second, 1.0, 0.0, residue)
    expected = rf"^a.pdb: has alternate .* \(H1 of residue {residue} 1\); keep one of them$"
    with pytest.raises(StructureError, match=expected):
        read(text)


def test_alternate_location_that_is_alone_is_read():
    (atoms,) = read(line(" O", "A", 0.0) + line(" H1", "A", 0.9) + line(" H2", "B", -0.9))
    assert str(atoms.symbols) == "OH2"


def test_each_model_has_its_own_locations():
    first, second = (f"MODEL {i}\n{line(' O', a, 0.0)}ENDMDL\n" for i, a in enumerate("AB"))
    assert [len(atoms) for atoms in read(first + second)] == [1, 1]


def test_atoms_that_share_a_name_are_no_alternate_locations():
    (atoms,) = read(line(" H", " ", 0.0) + line(" H", " ", 0.74))
    assert len(atoms) == 2


def test_every_model_has_the_cell_that_stands_before_the_first():
    head = "CRYST1    9.000   10.000   11.000  90.00  90.00  90.00 P 1           1\n"
    models = "".join(f"MODEL {i}\n{line(' O', ' ', i)}ENDMDL\n" for i in range(2))
    first, second = read(head + models + "END\n")  # END ends the file, and is no third model
    for number, atoms in enumerate([first, second]):
        assert atoms.pbc.all()
        np.testing.assert_allclose(atoms.cell.lengths(), [9, 10, 11])
        assert atoms.positions[0, 0] == number


NAMES = {
    " CA ": "C",
    "CA  ": "Ca",
    "HG11": "H",
    " HE2": "H",
    "1HB ": "H",
    " CL1": "Cl",
    "C1  ": "C",
}


@pytest.mark.parametrize("name", NAMES)
def test_elements_that_are_not_stated_are_those_of_the_names(name):
    (atoms,) = read(line(name, " ", 0.0)[:66] + "\n")
    assert atoms.get_chemical_symbols() == [NAMES[name]]


def test_an_element_that_is_stated_counts_and_not_the_name():
    (atoms,) = read(line(" CA ", " ", 0.0)[:76] + "CA\n")
    assert str(atoms.symbols) == "Ca"


def test_an_atom_without_an_element_is_refused():
    with pytest.raises(StructureError, match="has an atom 'MW' whose element is not told"):
        read(line(" MW ", " ", 0.0)[:66])


def test_deuterium_is_hydrogen_of_its_mass():
    (atoms,) = read(line(" D1 ", " ", 0.0))
    assert str(atoms.symbols) == "H"
    assert atoms.get_masses() == [2.014]


def test_a_line_that_is_cut_short_is_refused():
    with pytest.raises(StructureError, match=r"is truncated: .* is no whole line of an atom"):
        read(line(" O", " ", 0.0)[:50])


@pytest.mark.parametrize(
    ("told", "charge"), [("1-", -1), ("2+", 2), ("+ ", 1), ("  ", 0), ("xx", 0)]
)
def test_formal_charges_are_read(told, charge):
    (atoms,) = read(
        line(" O", " ", 0.0).rstrip("\n") + told + "\n" + line(" H1", " ", 0.9) + "END\n"
    )
    assert atoms.get_initial_charges().tolist() == [charge, 0]
    assert atoms.get_chemical_symbols() == ["O", "H"]


CRYST1 = "CRYST1{0:9.3f}{0:9.3f}{0:9.3f}  90.00  90.00  90.00 {1:11}{2:>4}\n"


def test_a_cell_with_symmetry_is_refused():
    expected = r"^a\.pdb: has a cell of space group P 1 21/c 1 .*, or the molecule without CRYST1$"
    with pytest.raises(StructureError, match=expected):
        read(CRYST1.format(9, "P 1 21/c 1", 4) + line(" O", " ", 0.0))


@pytest.mark.parametrize("group", ["P 1", "P1", ""])
def test_a_cell_without_symmetry_is_periodic(group):
    (atoms,) = read(CRYST1.format(9, group, 1) + line(" O", " ", 0.0))
    assert atoms.pbc.all()


@pytest.mark.parametrize("length", [0, 1])
def test_what_stands_for_no_cell_is_none(length):
    (atoms,) = read(CRYST1.format(length, "P 1", 1) + line(" O", " ", 0.0))
    assert not atoms.pbc.any()
    assert atoms.cell.rank == 0
