"""Tripos' mol2 files: elements by types of atoms, charges, cells, and molecules cut short."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.cell import Cell

from tdncalc.errors import StructureError
from tdncalc.structures import read_inputs

# As Open Babel 3.1 writes it.
ACETATE = """@<TRIPOS>MOLECULE
acetate
 7 6 0 0 0
SMALL
GASTEIGER

@<TRIPOS>ATOM
      1 C           1.0674    0.0864    0.0317 C.3     1  UNL1       -0.0252
      2 C           0.5680    1.0404    1.1031 C.2     1  UNL1        0.0387
      3 O          -0.1508    1.9903    0.6860 O.co2   1  UNL1       -0.5501
      4 O           0.9378    0.7591    2.2776 O.co2   1  UNL1       -0.5501
      5 H           0.7141    0.3832   -0.9605 H       1  UNL1        0.0289
      6 H           0.7074   -0.9260    0.2379 H       1  UNL1        0.0289
      7 H           2.1614    0.0789    0.0208 H       1  UNL1        0.0289
@<TRIPOS>UNITY_ATOM_ATTR
4 1
charge -1
@<TRIPOS>BOND
     1     1     2    1
     2     2     3   ar
     3     2     4   ar
     4     1     5    1
     5     1     6    1
     6     1     7    1
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(text, name="a.mol2"):
    Path(name).write_text(text, encoding="utf-8")
    return [source.atoms for source in read_inputs([name])]


def of_types(*kinds):
    """Return a file of atoms of these types in a row."""
    rows = "".join(f"{k} X{k} {3 * k} 0 0 {kind}\n" for k, kind in enumerate(kinds, start=1))
    return f"@<TRIPOS>MOLECULE\n*****\n{len(kinds)}\nSMALL\nNO_CHARGES\n@<TRIPOS>ATOM\n{rows}"


def test_a_molecule_has_its_name_elements_positions_and_charges():
    (atoms,) = read(ACETATE)
    assert str(atoms.symbols) == "C2O2H3"
    assert atoms.info == {"name": "acetate"}
    assert atoms.positions[3].tolist() == [0.9378, 0.7591, 2.2776]
    assert atoms.get_initial_charges()[2] == -0.5501
    assert not atoms.pbc.any()


@pytest.mark.parametrize(
    ("kinds", "symbols"),
    [
        ("C.3 C.ar C.cat N.pl3 O.co2 S.o2 P.3 H.spc Co.oh Zn Na Ca", "C3NOSPHCoZnNaCa"),
        ("ca hc cl br na os f p5 ns c", "CHClBrNOFPNC"),  # of GAFF, whose ca is carbon
        ("CL BR Cl Br", "ClBrClBr"),
    ],
)
def test_elements_are_those_of_the_types(kinds, symbols):
    (atoms,) = read(of_types(*kinds.split()))
    assert str(atoms.symbols) == symbols


@pytest.mark.parametrize("kind", ["Du", "LP", "CT", "CA", "Any", "xx"])
def test_a_type_that_tells_no_element_is_named(kind):
    with pytest.raises(StructureError, match=rf"^a\.mol2: has an atom X2 of type {kind}, which"):
        read(of_types("C.3", kind))


def test_deuterium_is_heavy_hydrogen():
    (atoms,) = read(of_types("O.3", "D", "H"))
    assert str(atoms.symbols) == "OH2"
    assert atoms.get_masses()[1:] == pytest.approx([2.014, 1.008])


def test_formal_charges_are_read_where_there_are_no_partial_ones():
    text = ACETATE.replace("GASTEIGER", "NO_CHARGES")
    assert read(text)[0].get_initial_charges().tolist() == [0, 0, 0, -1, 0, 0, 0]


def test_every_molecule_of_a_file_is_read_with_comments_between():
    text = f"# Name: one\n\n{ACETATE}\n# Name: two\n{of_types('O.3')}{ACETATE}"
    assert [len(atoms) for atoms in read(text)] == [7, 1, 7]
    assert len(read(text.replace("\n", "\r\n"))) == 3


def test_lines_go_on_behind_a_backslash():
    assert len(read(ACETATE.replace("0.0864    0.0317", "0.0864 \\\n 0.0317"))[0]) == 7


@pytest.mark.parametrize(
    ("lines", "what"), [(10, "3 of its 7 atoms"), (21, "3 of its 6 bonds")], ids=["atoms", "bonds"]
)
def test_a_molecule_cut_short_is_refused(lines, what):
    cut = "\n".join(ACETATE.split("\n")[:lines])
    with pytest.raises(StructureError, match=rf"^a\.mol2: is truncated: molecule 1 has {what}"):
        read(ACETATE + cut)


@pytest.mark.parametrize("end", ["", " 1", " 1 1"])
def test_a_cell_without_symmetry_is_periodic(end):
    (atoms,) = read(f"{ACETATE}@<TRIPOS>CRYSIN\n 10 11 12 80 90 100{end}\n")
    assert atoms.pbc.all()
    assert np.allclose(atoms.cell, Cell.new([10, 11, 12, 80, 90, 100]))


def test_a_cell_with_symmetry_is_refused():
    with pytest.raises(StructureError, match=r"^a\.mol2: has a cell of space group 14 "):
        read(f"{ACETATE}@<TRIPOS>CRYSIN\n 10 11 12 90 100 90 14 1\n")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("hello, world\n", "has no section @<TRIPOS>MOLECULE"),
        ("@<TRIPOS>MOLECULE\n", "cannot be read as mol2, is perhaps truncated"),
        (ACETATE.replace("1.0674", "1.x"), "cannot be read as mol2, .*'1.x'"),
        (ACETATE.replace("2.2776", "\0"), "holds binary data and cannot be read as mol2"),
    ],
)
def test_what_is_no_mol2_is_refused_in_one_line(text, cause):
    with pytest.raises(StructureError, match=rf"^a\.mol2: {cause}") as raised:
        read(text)
    assert "\n" not in str(raised.value)


def test_files_of_a_folder_and_compressed_ones_are_found():
    Path("folder").mkdir()
    Path("folder/b.mol2").write_text(ACETATE)
    Path("folder/c.mol2.gz").write_bytes(gzip.compress(ACETATE.encode()))
    assert [source.name for source in read_inputs(["folder"])] == ["b", "c"]
