"""PDB files: alternate locations."""

from pathlib import Path

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
