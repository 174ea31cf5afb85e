"""Gromacs' gro files: frames, elements by names, and what is cut short."""

from pathlib import Path

import pytest

from tdncalc.errors import StructureError
from tdncalc.structures import read_inputs

ATOM = "    1{residue:<5}{name:>5}{number:5d}{x:8.3f}   0.100   0.200\n"
BOX = "   2.00000   2.10000   2.20000\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text):
    Path("a.gro").write_text(text)
    return [source.atoms for source in read_inputs(["a.gro"])]


def frame(*names, residue="LIG", box=BOX):
    rows = [ATOM.format(residue=residue, name=n, number=k, x=0.3 * k) for k, n in enumerate(names)]
    return f"title\n{len(names):5d}\n{''.join(rows)}{box}"


ELEMENTS = {
    ("SOL", "OW"): "O",
    ("SOL", "HW1"): "H",
    ("ALA", "CA"): "C",
    ("ALA", "1HB"): "H",
    ("CA", "CA"): "Ca",
    ("NA", "NA"): "Na",
    ("CL", "CL-"): "Cl",
    ("SOD", "SOD"): "Na",
    ("LIG", "CL1"): "Cl",
    ("LIG", "BR"): "Br",
    ("HEM", "FE"): "Fe",
    ("ION", "ZN"): "Zn",
    ("LIG", "Na"): "Na",
}


@pytest.mark.parametrize(("residue", "name"), ELEMENTS)
def test_elements_are_those_of_the_names(residue, name):
    (atoms,) = read(frame(name, residue=residue))
    assert atoms.get_chemical_symbols() == [ELEMENTS[residue, name]]


def test_a_virtual_site_is_refused():
    with pytest.raises(StructureError, match=r"^a.gro: the name of an atom, 'MW' in SOL, tells no"):
        read(frame("OW", "HW1", "HW2", "MW", residue="SOL"))


def test_every_frame_is_read():
    first, second = read(frame("C", "O") + frame("C"))
    assert [len(first), len(second)] == [2, 1]
    assert first.cell.lengths().tolist() == [20, 21, 22]


def test_a_blank_box_is_no_cell():
    (atoms,) = read(frame("C", "O", box="\n"))
    assert not atoms.pbc.any()


@pytest.mark.parametrize("lost", [3, 12, len(BOX), len(BOX) + 2, len(BOX) + 20])
def test_a_file_that_is_cut_short_is_refused(lost):
    text = frame("C", "O")
    with pytest.raises(StructureError, match="truncated"):
        read(text[:-lost])
