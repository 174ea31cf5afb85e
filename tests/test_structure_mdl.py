"""MDL mol and SD files: what they say of names, charges and isotopes."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tdncalc.errors import StructureError
from tdncalc.structures import read_inputs, write


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(name) -> Atoms:
    (source,) = read_inputs([name])
    return source.atoms


def test_name_and_charges_of_a_mol_file_are_read():
    ion = """ammonium
  by hand

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 N   0  0
    0.0000    0.0000    1.0000 H   0  0
  1  2  1  0
M  CHG  1   1   1
M  END
"""
    with open("a.mol", "w") as file:
        file.write(ion)
    atoms = read("a.mol")
    assert atoms.info["name"] == "ammonium"
    assert atoms.get_initial_charges().tolist() == [1, 0]


def test_charge_codes_of_atoms_are_read_where_no_line_tells_charges():
    atom = "    0.0000    0.0000    {z} {symbol}   0{code:>3}\n"
    coded = atom.format(z="0.0000", symbol="N", code=3) + atom.format(
        z="1.0000", symbol="O", code=5
    )
    text = f"\n\n\n  2  0  0  0  0  0            999 V2000\n{coded}"
    for name, line, expected in (
        ("a.mol", "", [1, -1]),
        ("b.mol", "M  CHG  1   2   1\n", [0, 1]),  # then the codes do not count
        ("c.mol", "M  RAD  1   2   2\n", [0, 0]),
    ):
        with open(name, "w") as file:
            file.write(f"{text}{line}M  END\n")
        assert read(name).get_initial_charges().tolist() == expected


@pytest.mark.parametrize("end", ["$$$$\n", "$$$$ \n", "$$$$\r\n", "$$$$\r", "$$$$"])
def test_every_molecule_of_an_sd_file_is_read(end):
    record = "one\n\n\n  1  0  0  0  0  0            999 V2000\n"
    record += "    0.0000    0.0000    0.0000 N   0  0\nM  END\n"
    if "\r" in end:
        record = record.replace("\n", end[4:])
    with open("a.sdf", "w", newline="") as file:
        file.write(f"{record}{end if len(end) > 4 else '$$$$' + chr(10)}{record}{end}")
    assert len(list(read_inputs(["a.sdf"]))) == 2


@pytest.mark.parametrize(
    ("code", "n_atoms", "height", "refused"),
    [("2D", 4, 0.0, True), ("3D", 4, 0.0, False), ("2D", 4, 0.5, False), ("2D", 3, 0.0, False)],
    ids=["drawing", "planar", "not flat", "three atoms"],
)
def test_a_drawing_is_refused(code, n_atoms, height, refused):
    rows = "".join(f"{x:10.4f}{x % 2:10.4f}{x * height:10.4f} C   0  0\n" for x in range(n_atoms))
    counts = f"{n_atoms:3}  0  0  0  0  0            999 V2000\n"
    with open("a.mol", "w") as file:
        file.write(f"drawn\n  a program         {code}\n\n{counts}{rows}M  END\n")
    if refused:
        with pytest.raises(StructureError, match=r"a\.mol: molecule 0 is a drawing \(2D\)"):
            read("a.mol")
    else:
        assert len(read("a.mol")) == n_atoms


def test_charge_in_a_v3000_file_is_read():
    with open("a.mol", "w") as file:
        file.write(
            "\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n"
            "M  V30 COUNTS 1 0 0 0 0\nM  V30 BEGIN ATOM\nM  V30 1 O 0 0 0 0 CHG=-1\n"
            "M  V30 END ATOM\nM  V30 END CTAB\nM  END\n"
        )
    assert read("a.mol").get_initial_charges().tolist() == [-1]


WATER = """


  3  0  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.9600    0.0000    0.0000 {hydrogen}  0
   -0.2400    0.9300    0.0000 H   0  0
{line}M  END
"""


def v2000(hydrogen="H   0", line=""):
    return WATER.format(hydrogen=hydrogen, line=line)


def v3000(hydrogen="H", words=""):
    return (
        "\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n"
        "M  V30 COUNTS 3 0 0 0 0\nM  V30 BEGIN ATOM\nM  V30 1 O 0 0 0 0\n"
        f"M  V30 2 {hydrogen} 0.96 0 0 0{words}\nM  V30 3 H -0.24 0.93 0 0\n"
        "M  V30 END ATOM\nM  V30 END CTAB\nM  END\n"
    )


@pytest.mark.parametrize(
    ("text", "mass"),
    [
        (v2000(line="M  ISO  1   2   2\n"), 2.014),
        (v2000(line="M  ISO  1   2   3\n"), 3.016),
        (v2000(line="M  ISO  1   2   1\n"), 1.008),
        (v2000("D   0"), 2.014),
        (v2000("T   0"), 3.016),
        (v2000("H   1"), 2.014),
        (v2000("H   1", "M  ISO  1   1  18\n"), 1.008),  # then the codes do not count
        (v3000(words=" MASS=2"), 2.014),
        (v3000(words=" CHG=0 MASS=2.5"), 2.5),
        (v3000("D"), 2.014),
        (v3000("T"), 3.016),
        (v2000(), 1.008),
    ],
)
def test_isotope_has_its_mass(text, mass):
    with open("a.mol", "w") as file:
        file.write(text)
    atoms = read("a.mol")
    assert str(atoms.symbols) == "OH2"
    assert atoms.get_masses()[1:].tolist() == [mass, 1.008]


@pytest.mark.parametrize("number", [-1, 999])
def test_mass_number_that_no_isotope_has_is_refused(number):
    with open("a.mol", "w") as file:
        file.write(v2000(line=f"M  ISO  1   2 {number:3}\n"))
    with pytest.raises(StructureError, match=r"^a.mol: .*a mass number is not between 1 and 350"):
        read("a.mol")


@pytest.mark.parametrize("name", ["a.sdf", "a.mol", "a.extxyz", "a.traj", "a.json"])
def test_isotopes_are_written(name, caplog):
    with open("given.mol", "w") as file:
        file.write(v2000("D   0", "M  ISO  1   1  18\n"))
    given = read("given.mol")
    write(name, given)
    np.testing.assert_allclose(read(name).get_masses(), [18, 2.014, 1.008])
    assert caplog.text == ""


@pytest.mark.parametrize(("name", "mass"), [("a.pdb", 2.014), ("a.sdf", 1.5), ("a.xsf", 1.5)])
def test_masses_that_a_format_does_not_keep_are_told(name, mass, caplog):
    water = molecule("H2O", vacuum=4, pbc=name == "a.xsf")
    water.set_masses([15.999, mass, 1.008])
    write(name, water)
    assert "masses; .extxyz and .traj do" in caplog.text


def test_lines_of_v3000_that_go_on_in_the_next_are_read():
    atom = "M  V30 2 H 0.95 0 0 0 -\nM  V30 MASS=2"
    rows = "M  V30 BEGIN ATOM\nM  V30 1 O 0 0 0 0\n" + atom + "\nM  V30 END ATOM\nM  END\n"
    with open("a.mol", "w") as file:
        file.write("water\n\n\n  0  0  0 999 V3000\nM  V30 COUNTS 2 0 0 0 0\n" + rows)
    atoms = read("a.mol")
    assert str(atoms.symbols) == "OH"
    assert atoms.get_masses()[1] == 2.014
