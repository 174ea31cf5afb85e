import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from pymatgen.core import Molecule, Structure


def test_table_shows_energy_force_and_pressure(tdn, copper, water):
    outcome = tdn("energy", copper, water)
    assert outcome.code == 0
    header, first, second = outcome.out.splitlines()
    assert "pressure (GPa)" in header
    atoms = read(copper)
    atoms.calc = EMT()
    energy, force, pressure, novelty, n_atoms, label = first.split()
    assert float(energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert float(force) == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max(), abs=1e-5)
    assert float(pressure) == pytest.approx(-atoms.get_stress()[:3].mean() * 160.21766, abs=1e-4)
    assert (novelty, n_atoms, label) == ("-", "4", copper)
    assert second.split()[2] == "-"


def test_nothing_is_written_without_output(tdn, copper, files):
    tdn("energy", copper)
    assert files() == [copper]


def test_output_holds_structures_with_results(tdn, copper, water):
    assert tdn("energy", copper, water, "-o", "out.extxyz").code == 0
    first, second = read("out.extxyz", ":")
    assert first.get_stress().shape == (6,)
    assert second.get_forces().shape == (3, 3)


def test_json_is_one_object_with_provenance(tdn, copper):
    outcome = tdn("energy", copper, "--json")
    facts = json.loads(outcome.out)
    assert facts["results"][0]["input"] == copper
    assert facts["model"] == {"name": "emt", "sha256": "e" * 64}
    assert {"versions", "device", "dtype", "threads", "started"} <= set(facts)


def test_bad_structure_is_named_and_passed_over(tdn, copper, folder):
    (folder / "empty.xyz").touch()
    write("lead.xyz", molecule("CH4")[:1])
    xenon = molecule("CH4")
    xenon.numbers[1] = 54
    write("xenon.xyz", xenon)
    outcome = tdn("energy", "empty.xyz", copper, "xenon.xyz", "lead.xyz")
    assert outcome.code == 1
    assert "empty.xyz" in outcome.err
    assert "Xe (atom 1)" in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert len(outcome.out.splitlines()) == 3


def test_bad_frame_does_not_hide_those_behind_it(tdn, folder):
    frames = [bulk("Cu"), bulk("Cu"), bulk("Cu")]
    frames[1].positions[0, 0] = np.nan
    write("all.extxyz", frames)
    outcome = tdn("energy", "all.extxyz")
    assert outcome.code == 1
    assert "all.extxyz@1" in outcome.err
    assert len(outcome.out.splitlines()) == 3


def test_frames_are_picked_and_folders_are_walked(tdn, folder):
    (folder / "set").mkdir()
    write("set/a.extxyz", [bulk("Cu"), bulk("Au")])
    write("set/b.extxyz", bulk("Ag"))
    assert len(tdn("energy", "set").out.splitlines()) == 4
    assert len(tdn("energy", "set/a.extxyz@-1").out.splitlines()) == 2


def test_standard_input_is_read(tdn, copper, monkeypatch):
    with open(copper) as file:
        monkeypatch.setattr("sys.stdin", file)
        outcome = tdn("energy", "-")
    assert "stdin" in outcome.out


def test_batches_have_a_bounded_number_of_atoms(tdn, folder, monkeypatch):
    from emt import EMTPotential

    sizes = []
    evaluate = EMTPotential.evaluate

    def watch(self, structures, **options):
        sizes.append(sum(map(len, structures)))
        return evaluate(self, structures, **options)

    monkeypatch.setattr(EMTPotential, "evaluate", watch)
    write("all.extxyz", [bulk("Cu", cubic=True) * (5, 5, 5)] * 3)
    assert len(tdn("energy", "all.extxyz", "-q").out.splitlines()) == 4
    assert sizes == [1000, 500]


@pytest.mark.parametrize("told", ["charge", "total_charge", "atoms"])
def test_charge_of_a_file_is_not_ignored_silently(tdn, folder, told):
    ion = molecule("CH4")
    if told == "atoms":
        ion.set_initial_charges([-1.0, 0, 0, 0, 0])
    else:
        ion.info[told] = 1
    write("ion.extxyz", ion)
    outcome = tdn("energy", "ion.extxyz")
    assert outcome.code == 0
    sign = "-" if told == "atoms" else "+"
    assert f"Warning: ion.extxyz: its charge of {sign}1 is ignored" in outcome.err


@pytest.mark.parametrize("kind", ["molecule", "crystal"])
def test_charge_of_a_pymatgen_file_is_not_ignored_silently(tdn, folder, kind):
    symbols, positions = ["O", "H", "H"], molecule("H2O").positions
    crystal = Structure(8 * np.eye(3), symbols, positions, coords_are_cartesian=True)
    water = crystal if kind == "crystal" else Molecule(symbols, positions)
    for charge in (0, 2):
        (folder / f"{charge}.json").write_text(json.dumps(water.as_dict() | {"charge": charge}))
    assert "charge" not in tdn("energy", "0.json").err
    assert "Warning: 2.json: its charge of +2 is ignored" in tdn("energy", "2.json").err


def test_partial_charges_of_a_neutral_molecule_are_no_charge(tdn, folder):
    water = molecule("H2O")
    water.set_initial_charges([-0.8, 0.4, 0.41])
    write("water.extxyz", water)
    assert "charge" not in tdn("energy", "water.extxyz").err


def test_killed_run_is_resumed_with_every_structure_once(tdn, folder):
    write("all.extxyz", [bulk(symbol, cubic=True) for symbol in ("Cu", "Ag", "Au")])
    assert tdn("energy", "all.extxyz", "-o", "out.extxyz").code == 0
    whole = (folder / "out.extxyz").read_bytes()
    (folder / "out.extxyz").write_bytes(whole[:-40])  # in the last line of the last frame
    outcome = tdn("energy", "all.extxyz", "-o", "out.extxyz", "--resume")
    assert outcome.code == 0
    assert [line.split()[-1] for line in outcome.out.splitlines()[1:]] == ["all.extxyz@2"]
    assert (folder / "out.extxyz").read_bytes() == whole
    assert "already done" not in outcome.err


def test_nothing_left_to_resume_is_told(tdn, copper):
    assert "already done" not in tdn("energy", copper, "-o", "out.extxyz").err
    outcome = tdn("energy", copper, "-o", "out.extxyz", "--resume")
    assert (outcome.code, outcome.out) == (0, "")
    assert "out.extxyz: already done, has every structure" in outcome.err
    assert not tdn("energy", copper, "-o", "out.extxyz", "--resume", "-q").err


def test_a_digest_that_looks_like_a_number_is_none(tdn, folder, monkeypatch):
    monkeypatch.setattr("tdncalc.cli.done.digest", lambda atoms: "830130e189181956")
    monkeypatch.setattr("tdncalc.cli.energy_stream.digest", lambda atoms: "830130e189181956")
    write("a.extxyz", bulk("Cu"))
    assert tdn("energy", "a.extxyz", "-o", "out.extxyz").code == 0
    before = (folder / "out.extxyz").read_bytes()
    outcome = tdn("energy", "a.extxyz", "-o", "out.extxyz", "--resume")
    assert outcome.code == 0, outcome.err
    assert (folder / "out.extxyz").read_bytes() == before


@pytest.mark.parametrize("name", ["back\\slash.xyz", "1e5.xyz", "a b.xyz", 'quo"te.xyz', "ü=1.xyz"])
def test_odd_names_are_known_again(name, tdn, folder):
    (folder / "d").mkdir()
    write(folder / "d" / name, bulk("Cu"), format="extxyz")
    assert tdn("energy", "d", "-o", "out.extxyz").code == 0
    before = (folder / "out.extxyz").read_bytes()
    outcome = tdn("energy", "d", "-o", "out.extxyz", "--resume")
    assert outcome.code == 0, outcome.err
    assert (folder / "out.extxyz").read_bytes() == before


def test_an_ending_in_capitals_is_an_extxyz_file_too(tdn, copper):
    assert tdn("energy", copper, "-o", "OUT.XYZ").code == 0
    outcome = tdn("energy", copper, "-o", "OUT.XYZ", "--resume")
    assert "OUT.XYZ: already done" in outcome.err


def test_energies_of_another_model_are_not_resumed(tdn, copper, folder):
    tdn("energy", copper, "-o", "out.extxyz")
    text = (folder / "out.extxyz").read_text()
    (folder / "out.extxyz").write_text(text.replace("e" * 64, "f" * 64))
    outcome = tdn("energy", copper, "-o", "out.extxyz", "--resume")
    assert outcome.code == 1
    assert "another model" in outcome.err


def test_resume_needs_a_file_that_grows(tdn, copper):
    assert tdn("energy", copper, "--resume").code == 2
    assert tdn("energy", copper, "-o", "out.traj", "--resume").code == 2


def test_input_is_not_overwritten_by_energies_while_it_is_read(tdn, copper):
    outcome = tdn("energy", copper, "-o", copper, "--overwrite")
    assert outcome.code == 1
    assert f"{copper} is an INPUT" in outcome.err


def test_what_a_file_said_of_its_energy_gives_way(tdn, folder):
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {"energy": -1.0, "stress": np.zeros(6)}
    write("said.traj", atoms)
    outcome = tdn("energy", "said.traj", "-o", "out.extxyz")
    assert outcome.code == 0, outcome.err
    atoms.calc = EMT()
    assert read("out.extxyz").get_potential_energy() == pytest.approx(atoms.get_potential_energy())


def test_a_structure_that_cannot_be_searched_is_passed_over(real_tdn, model_folder, folder):
    far = molecule("H2O", cell=[6.0, 6.0, 6.0], pbc=[True, True, False])
    far.positions[0, 2] = 1e7
    for name, atoms in (("a", molecule("H2O")), ("far", far), ("z", molecule("CH4"))):
        write(f"{name}.extxyz", atoms)
    files = ("a.extxyz", "far.extxyz", "z.extxyz")
    outcome = real_tdn("energy", *files, "-o", "out.extxyz", "--model", model_folder)
    assert outcome.code == 1
    assert "far.extxyz: the structure is too long and thin" in outcome.err
    assert [atoms.info["input"] for atoms in read("out.extxyz@:")] == ["a.extxyz", "z.extxyz"]


def test_a_format_without_room_is_told_at_the_second_structure(tdn, folder, files):
    for name in ("a", "b", "c"):
        write(f"{name}.extxyz", bulk("Cu"))
    outcome = tdn("energy", "a.extxyz", "b.extxyz", "c.extxyz", "-o", "out.vasp")
    assert outcome.code == 1
    assert "format vasp holds one structure, not 2" in outcome.err
    assert outcome.out == ""


def test_what_a_format_cannot_hold_is_told_before_it_is_computed(tdn, folder):
    atoms = bulk("Cu")
    atoms.set_cell(None)
    atoms.pbc = False
    write("atom.extxyz", atoms)
    outcome = tdn("energy", "atom.extxyz", "-o", "out.cif")
    assert outcome.code == 1
    assert "the format is for crystals" in outcome.err
    assert outcome.out == ""


def test_an_input_that_has_changed_is_not_taken_as_done(tdn, folder):
    write("a.extxyz", bulk("Cu"))
    assert tdn("energy", "a.extxyz", "-o", "out.extxyz").code == 0
    write("a.extxyz", bulk("Au"))
    outcome = tdn("energy", "a.extxyz", "-o", "out.extxyz", "--resume")
    assert outcome.code == 1
    assert "a.extxyz has changed since it was done in out.extxyz" in outcome.err


def test_a_file_of_a_folder_that_is_read_is_not_replaced(tdn, folder):
    (folder / "d").mkdir()
    for name in ("a", "b"):
        write(f"d/{name}.extxyz", bulk("Cu"))
    before = (folder / "d" / "a.extxyz").read_bytes()
    outcome = tdn("energy", "d", "-o", "d/a.extxyz", "--overwrite")
    assert outcome.code == 1
    assert "d/a.extxyz is an INPUT" in outcome.err
    assert (folder / "d" / "a.extxyz").read_bytes() == before
    assert tdn("energy", "d", "-o", "d/out.extxyz").code == 0
    assert tdn("energy", "d", "-o", "d/out.extxyz", "--overwrite").code == 0
    assert len(read("d/out.extxyz@:")) == 2
