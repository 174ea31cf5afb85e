"""What the comment line and columns of extxyz can hold, whatever a structure carries."""

import io
import logging

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from tdncalc import structures
from tdncalc.errors import StructureError
from tdncalc.structures.extxyz import storable, unstorable


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.ones((3, 3)))
    return atoms


def assert_readable(atoms, path):
    structures.write(path, [atoms, atoms])
    first, second = read(path, ":")
    for frame in (first, second):
        assert frame.get_potential_energy() == -1.5
        np.testing.assert_allclose(frame.get_forces(), 1.0)
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-7)
    return first


@pytest.mark.parametrize(
    "value",
    [
        *("two\nlines", "two\r\nlines", "", " ", "\\", "a path\\", "\xa0", "_JSON {", 'a "b" {c}'),
        *(["a\nb"], {"k": "a\nb"}, np.array([]), np.array(["a\nb", "c"]), 3, True, None),
    ],
)
def test_any_value_leaves_the_file_readable(value, water, tmp_path):
    water.info = {"note": value, "after": "T1"}
    assert assert_readable(water, tmp_path / "out.extxyz").info["after"] == "T1"


@pytest.mark.parametrize("key", ["two\nlines", "", "a b", "Lattice", "Properties", "virial", 7])
def test_any_key_leaves_the_file_readable(key, water, tmp_path):
    water.info = {key: "text", "after": "T1"}
    assert assert_readable(water, tmp_path / "out.extxyz").info["after"] == "T1"


@pytest.mark.parametrize(
    "array",
    [
        np.array(["C A", "H", "H"]),
        np.array(["", "H", "H"]),
        np.zeros((3, 2, 2)),
        np.zeros((3, 0)),
        np.zeros(3, complex),
        np.zeros(3, np.uint8),
        np.full(3, 2**40),
        np.array([{}, {}, {}]),
    ],
)
def test_any_array_leaves_the_file_readable(array, water, tmp_path, caplog):
    water.arrays["mine"] = array
    water.arrays["a name"] = np.zeros(3)
    with caplog.at_level(logging.WARNING):
        kept = assert_readable(water, tmp_path / "out.extxyz")
    assert not {"mine", "a name"} & set(kept.arrays)
    assert "has no place for 'mine', 'a name'; no format keeps all" in caplog.text


EMPTY = 'Lattice="4 0 0 0 4 0 0 0 9" Properties=species:S:1:pos:R:3 note= {}'


@pytest.mark.parametrize("entry", ['pbc="T T F"', "energy=-1.5", "REF_energy=-1.5"])
def test_an_empty_value_that_takes_what_is_behind_it_is_refused(entry, tmp_path):
    text = f"1\n{EMPTY.format(entry)}\nCu 0 0 0\n"
    (tmp_path / "a.xyz").write_text(text)
    message = f"'note' has no value in its comment line and takes that of '{entry.split('=')[0]}'"
    for inputs in ([str(tmp_path / "a.xyz")], ["-"]):
        with pytest.raises(StructureError, match=message):
            list(structures.read_inputs(inputs, stdin=io.StringIO(text)))


def test_an_empty_value_before_what_means_nothing_is_taken(tmp_path):
    text = f"1\n{EMPTY.format('smiles=C=C')}\nCu 0 0 0\n"
    (source,) = structures.read_inputs(["-"], stdin=io.StringIO(text))
    assert source.atoms.info == {"note": "smiles=C=C"}


def test_words_of_atoms_that_were_read_are_written_again(water, tmp_path, caplog):
    water.arrays["types"] = np.array(["OW", "H1", "H2"])
    structures.write(tmp_path / "first.extxyz", water)
    structures.write(tmp_path / "second.extxyz", read(tmp_path / "first.extxyz"))
    assert read(tmp_path / "second.extxyz").arrays["types"].tolist() == ["OW", "H1", "H2"]
    assert caplog.text == ""


def test_text_is_put_on_one_line(water, tmp_path):
    water.info["note"] = "first line\nsecond line"
    kept = assert_readable(water, tmp_path / "out.extxyz")
    assert kept.info["note"] == "first line second line"
    assert water.info["note"] == "first line\nsecond line"


def test_what_fits_is_kept(water):
    water.info = {"name": "water", "charge": 0, "dipole_": np.ones(3), "list": [1, 2]}
    water.arrays |= {"tags": np.arange(3), "types": np.array(["OW", "H1 ", "H2"])}
    assert unstorable(water) == []
    assert list(storable(water).info) == list(water.info)
    assert set(storable(water).arrays) == set(water.arrays)
