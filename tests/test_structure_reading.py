"""Every way in: formats, frames, folders, standard input, and what is said of bad files."""

import gzip
import io
import json
import lzma
import os
import warnings

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from tdncalc.errors import StructureError
from tdncalc.structures import read_inputs
from tests.structures import structure

ETHANOL = molecule("CH3CH2OH")
SILICON = bulk("Si", cubic=True)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*specs):
    return list(read_inputs(specs))


def put(path, content):
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def frames(count=5, name="all.xyz"):
    """Write frames that can be told apart: frame k has k + 1 atoms."""
    atoms = [Atoms(f"H{k + 1}", np.arange(3 * k + 3).reshape(-1, 3)) for k in range(count)]
    ase.io.write(name, atoms)


def by_ase(atoms, **options):
    return lambda path: ase.io.write(path, atoms, **options)


def compressed(module):
    def save(path):
        text = io.StringIO()
        ase.io.write(text, ETHANOL, format="extxyz")
        with module.open(path, "wt") as file:
            file.write(text.getvalue())

    return save


def by_pymatgen(atoms):
    get = AseAtomsAdaptor.get_structure if atoms.pbc.any() else AseAtomsAdaptor.get_molecule
    return lambda path: get(atoms).to(path)


FORMATS = {
    "a.xyz": (ETHANOL, by_ase(ETHANOL, format="xyz")),
    "a.extxyz": (ETHANOL, by_ase(ETHANOL)),
    "b.extxyz": (SILICON, by_ase(SILICON)),
    "a.extxyz.gz": (ETHANOL, compressed(gzip)),
    "a.extxyz.xz": (ETHANOL, compressed(lzma)),
    "a.pdb": (ETHANOL, by_ase(ETHANOL)),
    "b.pdb": (SILICON, by_ase(SILICON)),
    "pdb1abc.ent": (SILICON, by_ase(SILICON, format="proteindatabank")),
    "a.sdf": (ETHANOL, by_ase(ETHANOL)),
    "a.mol": (ETHANOL, by_ase(ETHANOL)),
    "a.traj": (ETHANOL, by_ase(ETHANOL)),
    "a.json": (ETHANOL, by_ase(ETHANOL)),
    "a.db": (ETHANOL, by_ase(ETHANOL)),
    "a.gen": (ETHANOL, by_ase(ETHANOL)),
    "b.cif": (SILICON, by_ase(SILICON)),
    "b.cif.gz": (SILICON, by_ase(SILICON)),
    "POSCAR": (SILICON, by_ase(SILICON)),
    "b.vasp": (SILICON, by_ase(SILICON)),
    "CONTCAR.gz": (SILICON, by_ase(SILICON)),
    "POSCAR-relaxed.extxyz": (SILICON, by_ase(SILICON, format="extxyz")),
    "CONTCAR-md.traj": (SILICON, by_ase(SILICON, format="traj")),
    "OUTCAR.extxyz.gz": (ETHANOL, compressed(gzip)),
    "CONFIG-1.pdb": (ETHANOL, by_ase(ETHANOL, format="proteindatabank")),
    "b.xsf": (SILICON, by_ase(SILICON)),
    "b.gro": (SILICON, by_ase(SILICON)),
    "b.lmp": (SILICON, by_ase(SILICON, format="lammps-data", masses=True)),
    "b.data": (SILICON, by_ase(SILICON, format="lammps-data", masses=True)),
    "crystal.json": (SILICON, by_pymatgen(SILICON)),
    "molecule.json": (ETHANOL, by_pymatgen(ETHANOL)),
    "b.cssr": (SILICON, by_pymatgen(SILICON)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_read(name):
    expected, save = FORMATS[name]
    save(name)
    (source,) = read(name)
    assert source.label == name
    assert source.name == name.split(".")[0]
    assert source.atoms.get_chemical_symbols() == expected.get_chemical_symbols()
    assert (source.atoms.pbc == expected.pbc).all()
    distances = source.atoms.get_all_distances(mic=expected.pbc.all())
    digits = 1e-2 if name.endswith("gro") else 2e-3
    np.testing.assert_allclose(
        distances, expected.get_all_distances(mic=expected.pbc.all()), atol=digits
    )
    assert abs(source.atoms.cell.volume - expected.cell.volume) < 0.1


# A .cssr or .cif file may end after any of its atoms: what is missing cannot be known.
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("b.cssr", "b.cif")])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.8])
def test_truncated_file_is_refused_in_one_line(name, part):
    FORMATS[name][1]("whole-" + name)
    with open("whole-" + name, "rb") as file:
        content = file.read()
    put(name, content[: int(part * len(content))])
    with pytest.raises(StructureError, match=f"^{name}: ") as raised:
        read(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["8", "O1", "D", "Qq"])
def test_what_names_no_element_is_told(name):
    put("a.xyz", f"1\n\n{name} 0 0 0\n")
    with pytest.raises(StructureError, match=f"there is no element '{name}'; give a symbol alone"):
        read("a.xyz")


def test_pdb_of_a_molecule_has_no_cell():
    ase.io.write("a.pdb", ETHANOL)
    with open("a.pdb") as file:
        text = file.read()
    put("a.pdb", "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n" + text)
    (source,) = read("a.pdb")
    assert not source.atoms.pbc.any()
    assert source.atoms.cell.rank == 0


def test_every_molecule_of_an_sd_file_is_read():
    for name in ("H2O", "CH4"):
        ase.io.write(f"{name}.sdf", molecule(name))
    with open("both.sdf", "w") as both:
        for name in ("H2O", "CH4"):
            with open(f"{name}.sdf") as file:
                both.write(file.read())
    assert [(s.name, len(s.atoms)) for s in read("both.sdf")] == [("both-0", 3), ("both-1", 5)]


V3000 = """deuterated hydroxide
  by hand

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 2 1 0 0 0
M  V30 BEGIN ATOM
M  V30 1 O 0.0 0.0 0.0 0
M  V30 2 D 0.0 0.0 0.97 0
M  V30 END ATOM
M  V30 END CTAB
M  END
"""


def test_v3000_mol_file_and_deuterium_are_read():
    put("a.mol", V3000)
    (source,) = read("a.mol")
    assert source.atoms.get_chemical_symbols() == ["O", "H"]
    assert source.atoms.get_distance(0, 1) == 0.97


@pytest.mark.parametrize("line", ["M  END\n", "M  V30 2 D 0.0 0.0 0.97 0\n"])
def test_v3000_mol_file_that_lacks_a_line_is_truncated(line):
    put("a.mol", V3000.replace(line, ""))
    with pytest.raises(StructureError, match=r"a.mol: is truncated: molecule 0"):
        read("a.mol")


DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
1
ITEM: BOX BOUNDS pp pp pp
0 9
0 9
0 9
ITEM: ATOMS id {column} x y z
1 {value} 0 0 0
"""


@pytest.mark.parametrize(("column", "value"), [("element", "Si"), ("type mass", "1 28.085")])
def test_a_lammps_dump_with_elements_is_read(column, value):
    put("a.lammpstrj", DUMP.format(column=column, value=value))
    (source,) = read("a.lammpstrj")
    assert str(source.atoms.symbols) == "Si"


def test_a_lammps_dump_of_mere_types_has_no_elements():
    put("a.lammpstrj", DUMP.format(column="type", value="1"))
    with pytest.raises(StructureError, match=r"^a\.lammpstrj: names no elements; dump the column"):
        read("a.lammpstrj")


def moving(unit):
    """Write silicon with velocities as LAMMPS does in `unit`, and return the atoms."""
    atoms = SILICON.copy()
    atoms.set_velocities(np.random.default_rng(1).normal(size=(len(atoms), 3)))
    form = {"format": "lammps-data", "masses": True, "velocities": True, "units": unit}
    ase.io.write("a.data", atoms, **form)
    with open("a.data") as file:
        text = file.read().partition("\n")[2]
    put(
        "a.data",
        f"LAMMPS data file via write_data, version 1, timestep = 0, units = {unit}\n{text}",
    )
    return atoms


@pytest.mark.parametrize("unit", ["metal", "real", "electron"])
def test_lammps_data_has_the_units_that_its_first_line_tells(unit):
    atoms = moving(unit)
    (source,) = read("a.data")
    np.testing.assert_allclose(source.atoms.positions, atoms.positions, atol=1e-5)
    np.testing.assert_allclose(source.atoms.get_velocities(), atoms.get_velocities(), rtol=1e-5)


def test_lammps_data_without_a_length_are_refused():
    moving("metal")
    with open("a.data") as file:
        text = file.read()
    put("a.data", text.replace("units = metal", "units = lj"))
    with pytest.raises(StructureError, match=r"^a\.data: is in units lj"):
        read("a.data")


def test_lammps_data_without_masses_has_no_elements():
    ase.io.write("a.lmp", SILICON, format="lammps-data")
    with pytest.raises(StructureError, match=r"a.lmp: names no elements; give .* Masses"):
        read("a.lmp")


def test_list_of_pymatgen_structures_is_read_from_json():
    crystal = Structure(Lattice.cubic(4), ["C"], [[0, 0, 0]])
    put("two.json", json.dumps([crystal.as_dict(), crystal.as_dict()]))
    assert [source.label for source in read("two.json")] == ["two.json@0", "two.json@1"]


@pytest.mark.parametrize("name", ["alloy.cif", "alloy.json"])
def test_partially_occupied_sites_are_refused(name):
    Structure(Lattice.cubic(3), [{"Si": 0.6, "C": 0.4}], [[0, 0, 0]]).to(name)
    with pytest.raises(StructureError, match=f"{name}: .*partially occupied"):
        read(name)


CHLOROFORM = """data_x
_cell_length_a 8
_cell_length_b 8
_cell_length_c 8
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_disorder_assembly
_atom_site_disorder_group
C 0.1 0.1 0.1 . ?
Cl 0.3 0.1 0.1 {} {}
Cl 0.1 0.3 0.1 {} {}
"""


@pytest.mark.parametrize("alternatives", [("A", 1, "A", 2), (".", 1, ".", 2), (".", -1, ".", -1)])
def test_alternatives_without_occupancies_are_refused(alternatives):
    put("a.cif", CHLOROFORM.format(*alternatives))
    with pytest.raises(StructureError, match=r"^a\.cif: has disordered atoms \(groups .*1.*\)"):
        read("a.cif")


@pytest.mark.parametrize("arrangement", [("A", 1, "A", 1), ("A", 1, "B", 2), (".", ".", "?", "?")])
def test_one_arrangement_of_disordered_atoms_is_read(arrangement):
    put("a.cif", CHLOROFORM.format(*arrangement))
    (source,) = read("a.cif")
    assert source.atoms.get_chemical_formula() == "CCl2"


def test_warning_of_a_parser_is_logged_and_no_more(monkeypatch, caplog):
    def iread(*args, **options):
        warnings.warn("obscure", UserWarning, stacklevel=1)
        yield ETHANOL

    ase.io.write("a.traj", ETHANOL)
    monkeypatch.setattr(ase.io, "iread", iread)
    with caplog.at_level("DEBUG", "tdncalc"):
        assert len(read("a.traj")) == 1
    assert caplog.messages == ["obscure"]


@pytest.mark.parametrize("index", ["", "@0"])
def test_a_cube_tells_that_it_is_taken_for_a_crystal(index, caplog):
    water = molecule("H2O", vacuum=3.0)
    ase.io.write("w.cube", water, data=np.zeros((4, 4, 4)))
    ase.io.write("w.xyz", water)
    (source,) = read_inputs(["w.cube" + index])
    assert source.atoms.pbc.all()
    (record,) = caplog.records
    assert record.message.startswith("w.cube: its format does not tell what is periodic; taken for")
    list(read_inputs(["w.xyz"]))
    assert len(caplog.records) == 1


def test_note_called_occupancy_is_no_trouble():
    put("a.xyz", "1\noccupancy=0.5\nC 0 0 0\n")
    assert len(read("a.xyz")) == 1


def test_results_constraints_and_velocities_come_along():
    atoms = ETHANOL.copy()
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_velocities(np.ones((9, 3)))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5)
    ase.io.write("a.traj", atoms)
    (source,) = read("a.traj")
    assert source.atoms.get_potential_energy() == -1.5
    assert source.atoms.constraints[0].get_indices().tolist() == [0]
    assert source.atoms.get_velocities()[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("ending", ["xyz", "traj", "json"])
def test_frames_are_named_by_their_number(ending):
    frames(3, f"all.{ending}")
    found = [(s.name, s.label, len(s.atoms)) for s in read(f"all.{ending}")]
    assert found == [(f"all-{k}", f"all.{ending}@{k}", k + 1) for k in range(3)]


@pytest.mark.parametrize("ending", ["xyz", "traj", "json"])
@pytest.mark.parametrize(
    ("index", "numbers"),
    [
        (":", [0, 1, 2, 3, 4]),
        (":2", [0, 1]),
        ("1::2", [1, 3]),
        ("-2:", [3, 4]),
        (":-3", [0, 1]),
        ("::-2", [4, 2, 0]),
        ("3:99", [3, 4]),
        ("4:", [4]),
    ],
)
def test_slice_picks_frames_and_keeps_their_numbers(ending, index, numbers):
    frames(5, f"all.{ending}")
    sources = read(f"all.{ending}@{index}")
    if len(numbers) > 1:
        assert [source.name for source in sources] == [f"all-{k}" for k in numbers]
    assert [source.label for source in sources] == [f"all.{ending}@{k}" for k in numbers]
    assert [len(source.atoms) for source in sources] == [k + 1 for k in numbers]


@pytest.mark.parametrize("ending", ["xyz", "traj", "json"])
@pytest.mark.parametrize(("index", "size"), [("0", 1), ("3", 4), ("-1", 5), ("-5", 1)])
def test_index_picks_one_frame_with_the_name_of_the_file(ending, index, size):
    frames(5, f"all.{ending}")
    (source,) = read(f"all.{ending}@{index}")
    assert (source.name, source.label) == ("all", f"all.{ending}@{index}")
    assert len(source.atoms) == size


@pytest.mark.parametrize("name", ["all.xyz", "all.traj", "all.sdf", "all.json", "POSCAR"])
@pytest.mark.parametrize("index", ["7", "-7", "7:"])
def test_frame_that_is_not_there_is_named(name, index):
    ase.io.write(name, SILICON)
    with pytest.raises(StructureError, match=f"^{name}(@{index})?: .*(no such frame|that slice)"):
        read(f"{name}@{index}")


@pytest.mark.parametrize("index", ["x", "", "1:2:3:4", "::0", "1.5", "id=3"])
def test_bad_index_is_refused(index):
    frames()
    with pytest.raises(StructureError, match=f"^all.xyz@{index}: '{index}' picks no frames; use"):
        read(f"all.xyz@{index}")


def test_file_whose_name_has_an_at_sign_is_read():
    ase.io.write("me@home.xyz", ETHANOL, format="xyz")
    (source,) = read("me@home.xyz")
    assert (source.name, source.label) == ("me@home", "me@home.xyz")


def test_frames_are_read_as_they_are_asked_for():
    frames(5, "all.traj")
    sources = read_inputs(["all.traj", "missing.xyz"])
    assert next(sources).name == "all-0"


def test_folder_means_its_structure_files_in_order():
    os.mkdir("run")
    for name in ("b.xyz", "a.traj", "POSCAR", ".hidden.xyz"):
        ase.io.write(f"run/{name}", SILICON, format="vasp" if name == "POSCAR" else None)
    put("run/notes.txt", "3 things to do")
    put("run/b-relax.json", '{"command": "relax", "energy": -1.0}')
    put("run/b-md.csv", "step,time_fs\n")
    os.mkdir("run/deeper.xyz")
    assert [source.label for source in read("run")] == ["run/POSCAR", "run/a.traj", "run/b.xyz"]


def test_folder_without_structures_is_refused():
    os.mkdir("run")
    put("run/notes.txt", "nothing")
    with pytest.raises(StructureError, match=r"^run: is a folder without structure files"):
        read("run")


def test_next_can_be_asked_for_after_an_error():
    ase.io.write("good.xyz", ETHANOL)
    os.mkdir("run")
    put("run/a.xyz", "")
    ase.io.write("run/b.xyz", [Atoms("H"), Atoms("H2"), Atoms("He")])
    sources = read_inputs(["missing.xyz", "run", "good.xyz"])
    found = []
    while True:
        try:
            found.append(next(sources).label)
        except StructureError as error:
            found.append(str(error).split(":")[0])
        except StopIteration:
            break
    assert found == ["missing.xyz", "run/a.xyz", "run/b.xyz@0", "run/b.xyz@1", "run/b.xyz@2",
                     "good.xyz"]  # fmt: skip


def test_standard_input_is_extxyz():
    text = io.StringIO()
    ase.io.write(text, [SILICON, SILICON], format="extxyz")
    text.seek(0)
    sources = list(read_inputs(["-"], stdin=text))
    assert [(s.name, s.label) for s in sources] == [("stdin-0", "stdin@0"), ("stdin-1", "stdin@1")]
    assert sources[0].atoms.pbc.all()


def test_one_structure_on_standard_input_is_called_stdin():
    (source,) = read_inputs(["-"], stdin=io.StringIO("1\n\nC 0 0 0\n"))
    assert (source.name, source.label) == ("stdin", "stdin")


BETWEEN_BLANK_LINES = (
    "\n1\n\nC 0 0 0\n\n \n2\n\nH 0 0 0\nH 0 0 1\nVEC1 9 0 0\nVEC2 0 9 0\n\n1\n\nN 0 0 0\n\n"
)


@pytest.mark.parametrize(
    ("spec", "formulas"),
    [
        ("-", ["C", "H2", "N"]),
        ("a.xyz", ["C", "H2", "N"]),
        ("a.xyz@-1", ["N"]),
        ("a.xyz@-2", ["H2"]),
        ("a.xyz@1:", ["H2", "N"]),
        ("a.xyz@::-1", ["N", "H2", "C"]),
    ],
)
def test_a_blank_line_between_frames_of_extxyz_ends_nothing(spec, formulas):
    put("a.xyz", BETWEEN_BLANK_LINES)
    sources = list(read_inputs([spec], stdin=io.StringIO(BETWEEN_BLANK_LINES)))
    assert [str(source.atoms.symbols) for source in sources] == formulas
    assert [source.atoms.cell.rank for source in sources] == [2 * (f == "H2") for f in formulas]


@pytest.mark.parametrize("text", ["", "  \n", "hello\nworld\n", "3\n\nC 0 0 0\n"])
def test_bad_standard_input_is_refused(text):
    with pytest.raises(StructureError, match=r"^stdin: "):
        list(read_inputs(["-"], stdin=io.StringIO(text)))


def test_binary_standard_input_is_refused():
    stream = io.TextIOWrapper(io.BytesIO(bytes(range(256))), encoding="utf-8")
    with pytest.raises(StructureError, match=r"^stdin: holds binary data"):
        list(read_inputs(["-"], stdin=stream))


BAD_FILES = {
    "empty.xyz": (b"", "is empty"),
    "blank.xyz": (b"\n \n\n", "is empty"),
    "blank.cif": (b"\n \n\n", "is empty"),
    "cut.xyz": (b"3\n\nO 0 0 0\nH 0 0 1\n", "truncated or damaged"),
    "words.xyz": (b"hello, world\n", "cannot be read as extxyz"),
    "binary.xyz": (bytes(range(256)) * 8, "holds binary data"),
    "latin.xyz": (b"1\n\xe9\nC 0 0 0\n", "is not text in UTF-8"),
    "plain.xz": (b"1\n\nC 0 0 0\n", "cannot be read .*LZMAError"),
    "plain.gz": (b"1\n\nC 0 0 0\n", "cannot be read .*BadGzipFile"),
    "a.unknown": (b"hello, world\n", "format not recognized; give xyz"),
    "noending": (b"hello, world\n", "format not recognized; give xyz"),
    "program.py": (b"images = []\n", "format not recognized"),
    "nobody.xyz": (b"0\n\n", "has no atoms"),
    "nan.xyz": (b"1\n\nC nan 0 0\n", r"C \(atom 0\) is NaN"),
    "infinite.xyz": (b"1\n\nC inf 0 0\n", r"C \(atom 0\) is NaN or infinite"),
    "element.xyz": (b"1\n\nQq 0 0 0\n", "Qq"),
    "overlap.xyz": (b"2\n\nC 0 0 0\nO 0 0 0\n", "at one point"),
    "flat.xyz": (b'1\nLattice="3 0 0 0 3 0 3 3 0" pbc="T T T"\nC 0 0 0\n', "no extent"),
    "a.json": (b'{"energy": 1.0}', "is JSON but no structure of ASE or pymatgen"),
    "b.json": (b"[1, 2]", "is JSON but no structure"),
    "c.json": (b'{"sites": [{"xyz": 1}]}', "cannot be read as json"),
    "a.sdf": (b"\n\n\nnonsense\nM  END\n", "cannot be read as sdf"),
    "a.cif": (b"data_x\n_cell_length_a 3\n", "holds no structure"),
    "b.cif": (b"data_x\nloop_\n_atom_site_label\n_atom_site_fract_x\nSi1\n", "truncated"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_in_one_line_that_names_it(name):
    content, cause = BAD_FILES[name]
    put(name, content)
    with pytest.raises(StructureError, match=f"^{name}: .*{cause}") as raised:
        read(name)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("spec", ["missing.xyz", "nowhere/a.xyz", "missing.xyz@3"])
def test_missing_file_is_named(spec):
    with pytest.raises(StructureError, match=r"^.*xyz: there is no such file or folder"):
        read(spec)


def test_pipe_is_refused_and_not_waited_for():
    os.mkfifo("pipe.xyz")
    with pytest.raises(StructureError, match=r"^pipe.xyz: is not a file; pipe extxyz to '-'"):
        read("pipe.xyz")


def test_frame_that_cannot_be_used_is_named_and_the_others_are_read():
    bad = Atoms("H2", np.zeros((2, 3)))
    ase.io.write("all.traj", [ETHANOL, bad, ETHANOL])
    sources = read_inputs(["all.traj"])
    assert next(sources).label == "all.traj@0"
    with pytest.raises(StructureError, match=r"^all.traj@1: .*at one point"):
        next(sources)
    assert next(sources).label == "all.traj@2"


def test_awkward_structures_survive_a_trajectory():
    atoms = structure("left-handed cell")
    ase.io.write("a.traj", atoms)
    (source,) = read("a.traj")
    assert source.atoms == atoms


def test_cif_without_a_cell_length_is_refused(tmp_path):
    ase.io.write(tmp_path / "a.cif", bulk("Si"))
    lines = (tmp_path / "a.cif").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("_cell_length_b")]
    (tmp_path / "b.cif").write_text("\n".join(kept) + "\n")
    with pytest.raises(StructureError, match=r"b\.cif: .*cell"):
        list(read_inputs([str(tmp_path / "b.cif")]))


POSCAR = "{title}\n1\n4 0 0\n0 4 0\n0 0 4\n{elements}1 1\nDirect\n0 0 0\n{last}\n"


def test_a_poscar_without_elements_is_refused():
    put("POSCAR", POSCAR.format(title="a crystal", elements="", last=".5 .5 .5"))
    with pytest.raises(StructureError, match=r"^POSCAR: names no elements; add a line of"):
        read("POSCAR")


@pytest.mark.parametrize("elements", ["Cu O\n", ""])
@pytest.mark.parametrize("kind", ["Direct", "Fractional", "Selective dynamics\nDirect"])
def test_a_poscar_is_whole_whatever_stands_above_its_rows(elements, kind):
    flags = " T F T" if "Selective" in kind else ""
    text = POSCAR.format(title="Cu O", elements=elements, last=f".5 .5 .5{flags}")
    put("POSCAR", text.replace("Direct", kind).replace("\n0 0 0\n", f"\n0 0 0{flags}\n"))
    (source,) = read("POSCAR")
    np.testing.assert_allclose(source.atoms.positions[1], [2, 2, 2])


def test_a_poscar_cut_within_its_last_row_is_refused():
    put("POSCAR", POSCAR.format(title="a crystal", elements="Cu O\n", last=".5"))
    with pytest.raises(StructureError, match="fewer than three coordinates"):
        read("POSCAR")


def test_a_res_file_without_its_end_is_refused():
    ase.io.write("a.res", SILICON, format="res")
    with open("a.res") as file:
        text = file.read()
    put("b.res", text[: text.rindex("Si 1")])
    with pytest.raises(StructureError, match="is truncated: it does not close with END"):
        read("b.res")


HALL = "_space_group_name_Hall '{symbol}'"


def by_hall(symbol, beside=""):
    text = CIF.format(group="P 1", more="")
    stated = f"{HALL.format(symbol=symbol)}\n{beside}"
    put("a.cif", text.replace("_symmetry_space_group_name_H-M 'P 1'", stated))


def test_a_cif_file_with_a_group_by_hall_alone_is_refused():
    by_hall("-P 2ybc")
    with pytest.raises(StructureError, match=r"^a\.cif: tells .* Hall's symbol \(-P 2ybc\)"):
        read("a.cif")


@pytest.mark.parametrize(
    ("symbol", "beside", "count"), [("P 1", "", 2), ("-P 1", "_space_group_IT_number 2", 2)]
)
def test_a_cif_file_with_more_than_hall_is_read(symbol, beside, count):
    by_hall(symbol, beside)
    (source,) = read("a.cif")
    assert len(source.atoms) == count


def test_a_cif_file_in_another_encoding_is_read():
    text = CIF.format(group="P 1", more="").replace("loop_", "_publ_author 'Müller'\nloop_")
    put("a.cif", text.encode("latin1"))
    assert len(read("a.cif")[0].atoms) == 2


@pytest.mark.parametrize(
    ("lines", "said"), [("LATT 1", "LATT 1"), ("LATT -1\nSYMM -X, -Y, -Z", "SYMM -X, -Y, -Z")]
)
def test_a_res_file_with_symmetry_is_refused(lines, said):
    ase.io.write("a.res", SILICON, format="res")
    with open("a.res") as file:
        text = file.read()
    put("b.res", text.replace("LATT -1", lines))
    with pytest.raises(StructureError, match=rf"^b\.res: has a cell with symmetry \({said}\)"):
        read("b.res")


CSSR = """3.6 3.6 3.6
90 90 90 SPGR = {group}    OPT = 1
1 0
0 copper
1 Cu 0 0 0
"""


def test_a_cssr_file_with_symmetry_is_refused():
    put("a.cssr", CSSR.format(group="225 F m -3 m"))
    with pytest.raises(StructureError, match=r"^a\.cssr: has a cell of space group 225 "):
        read("a.cssr")


def test_a_cssr_file_without_symmetry_is_read():
    put("a.cssr", CSSR.format(group=" 1 P 1"))
    (source,) = read("a.cssr")
    assert source.atoms.pbc.all()


@pytest.mark.parametrize(
    ("name", "stated", "group"),
    [("a.xsd", 'ITNumber="1"', 'ITNumber="227"'), ("a.car", "  90.00000\n", "  90.00 (FD-3M)\n")],
)
def test_a_file_of_materials_studio_with_symmetry_is_refused(name, stated, group):
    kind = "xsd" if name == "a.xsd" else "dmol-car"
    ase.io.write(name, SILICON, format=kind)
    assert len(read(name)[0].atoms) == len(SILICON)
    with open(name) as file:
        text = file.read()
    put(name, text.replace(stated, group))
    with pytest.raises(StructureError, match=rf"^{name}: has a cell of space group (227|FD-3M) "):
        read(name)


CIF = """data_x
_cell_length_a 5.6
_cell_length_b 5.6
_cell_length_c 5.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 0 0 0
Cl1 0.5 0.5 0.5
{more}
"""


@pytest.mark.parametrize(
    ("group", "more", "message"),
    [
        ("Q q q", "", "its space group is not known"),
        ("P 1", "Br1 0.5 0.5 0.5", "two of its atoms are at one point"),
        ("P 1", "Wat1 0.2 0.2 0.2", "has hydrogen atoms without positions"),
        ("P 1", "Br1 ? ? ?", r"has atoms without coordinates \(\?\)"),
    ],
)
def test_what_a_parser_would_make_up_or_leave_out_is_refused(group, more, message, recwarn):
    put("a.cif", CIF.format(group=group, more=more))
    with pytest.raises(StructureError, match=rf"^a.cif: {message}"):
        read("a.cif")
    assert not recwarn.list


@pytest.mark.parametrize(("name", "kind"), [("a.con", "eon"), ("a.sys", "sys")])
def test_crystals_of_eon_and_qball_are_periodic(name, kind):
    ase.io.write(name, SILICON, format=kind)
    (source,) = read(name)
    assert source.atoms.pbc.all()
    np.testing.assert_allclose(source.atoms.cell.cellpar(), SILICON.cell.cellpar())


@pytest.mark.parametrize("charge", [0, 1])
def test_charge_of_a_gaussian_input_is_kept(charge):
    put(
        "a.gjf",
        f"# b3lyp/6-31g(d)\n\nHydroxide or not\n\n{charge} 1\nO 0.0 0.0 0.0\nH 0.0 0.0 0.97\n\n",
    )
    (source,) = read("a.gjf")
    assert source.atoms.info == ({"charge": 1} if charge else {})
    assert source.atoms.calc is None
    assert source.atoms.get_distance(0, 1) == pytest.approx(0.97)


def test_mmcif_is_told_from_cif():
    put("a.cif", "data_4HHB\n#\n_entry.id   4HHB\nloop_\n_atom_site.Cartn_x\n1.0\n")
    with pytest.raises(StructureError, match=r"^a\.cif: is mmCIF, .*; give PDB$"):
        read("a.cif")


@pytest.mark.filterwarnings("ignore:FHI-aims IO:FutureWarning")
@pytest.mark.parametrize(("name", "kind"), [("a.db", "db"), ("a.res", "res"), ("a.in", "aims")])
def test_files_that_a_parser_opens_itself_are_read_compressed(name, kind):
    ase.io.write(name, SILICON, format=kind)
    with open(name, "rb") as file:
        put(f"{name}.gz", gzip.compress(file.read()))
    (source,) = read(f"{name}.gz")
    np.testing.assert_allclose(source.atoms.positions, SILICON.positions, atol=1e-5)


@pytest.mark.parametrize("slice_", ["::2", "1::2", ":4:3", "::-2"])
def test_steps_through_a_database(slice_):
    frames(name="all.db")
    start, stop, step = (int(part) if part else None for part in f"{slice_}:".split(":")[:3])
    sizes = [len(source.atoms) for source in read(f"all.db@{slice_}")]
    assert sizes == list(range(1, 6))[start:stop:step]


def test_a_byte_order_mark_on_standard_input_is_passed_over():
    text = io.StringIO()
    ase.io.write(text, ETHANOL, format="extxyz")
    (source,) = read_inputs(["-"], stdin=io.StringIO("\ufeff" + text.getvalue()))
    assert len(source.atoms) == len(ETHANOL)
