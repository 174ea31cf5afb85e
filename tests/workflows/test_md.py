import csv
import dataclasses
import resource

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixScaled,
    FixSubsetCom,
    Hookean,
)
from ase.io import read

from tdncalc.errors import OptionError, OutputError, StructureError
from tdncalc.workflows.md import ENSEMBLES, Guards, MDFiles, MDSettings, Ramp, run_md

SHORT = MDSettings(steps=30, ensemble="nve", timestep_fs=2.0, interval=5, checkpoint_interval=10)


@pytest.fixture
def files(tmp_path):
    return MDFiles(tmp_path / "x.traj", tmp_path / "x.csv", tmp_path / "x.checkpoint")


def test_files_may_be_given_as_texts(files):
    assert MDFiles(str(files.trajectory), str(files.csv), str(files.checkpoint)) == files


def rows(files):
    with files.csv.open() as file:
        return list(csv.DictReader(file))


def test_table_has_a_row_for_each_frame(morse, copper, files):
    result = run_md(copper, calculator=morse(), settings=SHORT, files=files)
    table, frames = rows(files), read(files.trajectory, ":")
    assert result.reason == "done"
    assert [int(row["step"]) for row in table] == [0, 5, 10, 15, 20, 25, 30]
    assert len(frames) == 7
    for row, frame in zip(table, frames, strict=True):
        frame_total = frame.get_potential_energy() + frame.get_kinetic_energy()
        assert float(row["total_eV"]) == pytest.approx(frame_total, abs=1e-7)
        assert float(row["max_force"]) == pytest.approx(
            np.linalg.norm(frame.get_forces(), axis=1).max(), abs=1e-5
        )
        stress = frame.get_stress(include_ideal_gas=True)[:3].mean()
        assert float(row["pressure_GPa"]) == pytest.approx(-stress / units.GPa, abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ensemble", ["npt-mtk", "npt-berendsen"])
def test_a_barostat_warns_of_a_layer_without_atoms(axis, ensemble):
    slab = bulk("Cu", cubic=True) * (2, 2, 2)
    slab.center(vacuum=5.0, axis=axis)
    slab.calc = EMT()
    settings = MDSettings(steps=2, ensemble=ensemble, seed=1)
    seen = []
    run_md(slab, settings=settings, observer=seen.append)
    first, *others = [step.warning for step in seen]
    vector = ("first", "second", "third")[axis]
    assert first.startswith(f"10 Å along the {vector} cell vector hold no atoms, and the pressure")
    assert set(others) == {None}


@pytest.mark.parametrize(("ensemble", "vacuum"), [("npt-mtk", 0.9), ("nvt-bussi", 5.0)])
def test_nothing_is_said_of_vacuum_that_is_none_or_stays(ensemble, vacuum):
    slab = bulk("Cu", cubic=True) * (2, 2, 2)
    slab.center(vacuum=vacuum, axis=2)
    seen = []
    settings = MDSettings(steps=2, ensemble=ensemble, seed=1)
    run_md(slab, settings=settings, calculator=EMT(), observer=seen.append)
    assert {step.warning for step in seen} == {None}


def test_table_of_a_molecule_leaves_pressure_and_volume_empty(morse, cluster, files):
    run_md(cluster, calculator=morse(), settings=SHORT, files=files)
    assert {(row["pressure_GPa"], row["volume_A3"]) for row in rows(files)} == {("", "")}


@pytest.mark.parametrize("constraint", [FixBondLengths([[0, 1]]), Hookean(0, 1, 5.0, 2.0)])
def test_no_pressure_is_told_that_lacks_the_forces_of_constraints(morse, copper, files, constraint):
    copper.set_constraint(constraint)
    run_md(copper, calculator=morse(), settings=SHORT, files=files)
    assert {row["pressure_GPa"] for row in rows(files)} == {""}
    assert {row["volume_A3"] for row in rows(files)} == {f"{copper.get_volume():.6f}"}


def test_result_is_the_last_frame(morse, copper, files):
    result = run_md(copper, calculator=morse(), settings=SHORT, files=files)
    last = read(files.trajectory)
    np.testing.assert_array_equal(result.atoms.positions, last.positions)
    np.testing.assert_array_equal(result.atoms.get_momenta(), last.get_momenta())
    assert result.atoms.get_potential_energy() == last.get_potential_energy()


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_given_atoms_do_not_change(morse, copper, ensemble):
    before = copper.copy()
    run_md(copper, calculator=morse(), settings=dataclasses.replace(SHORT, ensemble=ensemble))
    assert copper == before
    assert not copper.has("momenta")
    assert copper.constraints == []


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_total_momentum_stays_zero(morse, copper, ensemble):
    settings = dataclasses.replace(SHORT, ensemble=ensemble)
    result = run_md(copper, calculator=morse(), settings=settings)
    np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0), 0, atol=1e-9)
    assert result.atoms.constraints == []


def test_velocities_that_are_given_are_kept(morse, copper):
    copper.set_velocities([[0.01, 0, 0], [-0.01, 0, 0], [0, 0.01, 0], [0, -0.01, 0]])
    settings = dataclasses.replace(SHORT, steps=0)
    result = run_md(copper, calculator=morse(), settings=settings)
    np.testing.assert_allclose(result.atoms.get_velocities(), copper.get_velocities(), atol=1e-15)


def test_seed_decides_the_run(morse, copper):
    settings = dataclasses.replace(SHORT, ensemble="nvt-langevin")
    runs = [
        run_md(copper, calculator=morse(), settings=dataclasses.replace(settings, seed=seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0].atoms.positions, runs[1].atoms.positions)
    assert not np.array_equal(runs[0].atoms.positions, runs[2].atoms.positions)


@pytest.mark.parametrize("ensemble", [e for e in ENSEMBLES if not e.startswith("npt")])
def test_fixed_atoms_stay(morse, copper, ensemble):
    copper.set_constraint(FixAtoms([1]))
    settings = dataclasses.replace(SHORT, ensemble=ensemble)
    result = run_md(copper, calculator=morse(), settings=settings)
    np.testing.assert_array_equal(result.atoms.positions[1], copper.positions[1])
    assert isinstance(result.atoms.constraints[0], FixAtoms)


def test_one_atom_flies_on(morse):
    result = run_md(Atoms("Cu"), calculator=morse(), settings=SHORT)
    assert result.temperature_K == pytest.approx(300.0)


def test_pymatgen_in_gives_pymatgen_out(morse):
    core = pytest.importorskip("pymatgen.core")
    water = core.Molecule("OHH", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    result = run_md(water, calculator=morse(), settings=dataclasses.replace(SHORT, timestep_fs=0.2))
    assert isinstance(result.structure, core.Molecule)
    np.testing.assert_array_equal(result.structure.cart_coords, result.atoms.positions)


def test_observer_sees_every_step(morse, copper):
    seen = []
    run_md(copper, calculator=morse(), settings=SHORT, observer=seen.append)
    assert [s.step for s in seen] == list(range(31))
    assert [s.step for s in seen if s.frame is not None] == [0, 5, 10, 15, 20, 25, 30]


def test_stop_finishes_the_step_and_leaves_a_checkpoint(morse, copper, files):
    asked = []
    result = run_md(
        copper,
        calculator=morse(),
        settings=SHORT,
        files=files,
        stop=lambda: asked.append(1) or len(asked) > 7,
    )
    assert (result.reason, result.steps) == ("stopped", 7)
    assert files.checkpoint.exists()


def test_speed_and_drift_are_told(morse, copper):
    result = run_md(copper, calculator=morse(), settings=dataclasses.replace(SHORT, interval=1))
    assert result.ns_per_day == pytest.approx(60e-6 / result.seconds * 86400)
    assert abs(result.drift_meV_per_atom_per_ps) < 50


def test_guard_leaves_the_frame_before(morse, copper, files):
    settings = dataclasses.replace(SHORT, guards=Guards(max_temperature_K=200.0, max_force=None))
    copper.set_velocities(np.random.default_rng(3).normal(0, 0.01, (4, 3)))
    result = run_md(copper, calculator=morse(), settings=settings, files=files)
    assert result.reason.startswith("guard: the temperature of")
    assert result.reason.endswith(f"at step {result.steps + 1}")
    assert result.steps > 0
    last = read(files.trajectory)
    np.testing.assert_array_equal(last.positions, result.atoms.positions)
    assert int(rows(files)[-1]["step"]) == result.steps
    before = run_md(
        copper, calculator=morse(), settings=dataclasses.replace(SHORT, steps=result.steps)
    )
    np.testing.assert_array_equal(result.atoms.positions, before.atoms.positions)
    np.testing.assert_array_equal(result.atoms.get_momenta(), before.atoms.get_momenta())
    assert result.atoms.get_potential_energy() == before.atoms.get_potential_energy()


def test_mean_temperature_of_a_run_that_a_guard_ends_at_its_start(morse, copper):
    settings = dataclasses.replace(
        SHORT, ensemble="nvt-langevin", temperature_K=500.0, guards=Guards(max_temperature_K=200.0)
    )
    result = run_md(copper, calculator=morse(), settings=settings)
    assert result.reason.endswith("at step 0")
    assert result.temperature_K == pytest.approx(500.0)


def test_guard_leaves_the_cell_before(copper):
    settings = MDSettings(
        20, "npt-mtk", timestep_fs=2.0, pressure_GPa=60.0, guards=Guards(max_volume_ratio=1.001)
    )
    result = run_md(copper, calculator=EMT(), settings=settings)
    assert "volume" in result.reason
    shorter = dataclasses.replace(settings, steps=result.steps)
    before = run_md(copper, calculator=EMT(), settings=shorter)
    assert result.atoms.get_volume() == before.atoms.get_volume()
    assert result.atoms.get_potential_energy() == before.atoms.get_potential_energy()


def test_not_a_number_is_caught_and_the_frame_before_kept(morse, copper, files):
    result = run_md(copper, calculator=morse(fail_at=8), settings=SHORT, files=files)
    assert result.reason.startswith("guard: a force or velocity is not a number at step")
    assert all(np.isfinite(frame.positions).all() for frame in read(files.trajectory, ":"))
    assert np.isfinite(result.atoms.positions).all()


def test_structure_that_the_model_refuses_on_the_way_is_a_guard(morse, copper, files):
    result = run_md(copper, calculator=morse(refuse_at=8), settings=SHORT, files=files)
    assert result.reason == "guard: structure: two atoms are at one point at step 7"
    assert result.steps == 6
    assert np.isfinite(result.atoms.get_potential_energy())
    assert int(rows(files)[-1]["step"]) == 6


def test_barostat_that_runs_away_is_a_guard(morse, copper):
    settings = MDSettings(300, "npt-mtk", timestep_fs=4.0, barostat_time_fs=8.0)
    lax = Guards(max_temperature_K=None, max_force=None, min_distance=None)
    result = run_md(copper, calculator=morse(), settings=dataclasses.replace(settings, guards=lax))
    assert result.reason.startswith("guard: ")
    assert result.steps < 300


def test_guard_at_the_start_runs_nothing(morse, copper, files):
    settings = dataclasses.replace(SHORT, guards=Guards(min_distance=3.0))
    result = run_md(copper, calculator=morse(), settings=settings, files=files)
    assert result.steps == 0
    assert "apart, below 3 at step 0" in result.reason


def test_existing_files_are_refused_and_left_alone(morse, copper, files):
    files.csv.write_text("mine")
    with pytest.raises(OutputError, match=r"x\.csv exists"):
        run_md(copper, calculator=morse(), settings=SHORT, files=files)
    assert files.csv.read_text() == "mine"
    assert not files.trajectory.exists()
    assert not files.checkpoint.exists()


def test_overwrite_replaces_them(morse, copper, files):
    run_md(copper, calculator=morse(), settings=SHORT, files=files)
    shorter = dataclasses.replace(SHORT, steps=10)
    again = dataclasses.replace(files, overwrite=True)
    run_md(copper, calculator=morse(), settings=shorter, files=again)
    assert [int(row["step"]) for row in rows(files)] == [0, 5, 10]
    assert len(read(files.trajectory, ":")) == 3


def test_missing_folder_is_an_output_error(morse, copper, tmp_path):
    gone = tmp_path / "gone"
    files = MDFiles(gone / "x.traj", gone / "x.csv", gone / "x.checkpoint")
    with pytest.raises(OutputError, match="cannot be written"):
        run_md(copper, calculator=morse(), settings=SHORT, files=files)


@pytest.fixture
def small_disk():
    """A limit on the size of files, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_a_checkpoint_to_resume_from(morse, copper, files, tmp_path, small_disk):
    whole = MDFiles(tmp_path / "y.traj", tmp_path / "y.csv", tmp_path / "y.checkpoint")
    often = dataclasses.replace(SHORT, interval=1)
    run_md(copper, calculator=morse(), settings=often, files=whole)
    small_disk(7000)  # holds the checkpoints, and some of the frames
    with pytest.raises(OutputError, match=r"x\.traj: cannot be written .*free space"):
        run_md(copper, calculator=morse(), settings=often, files=files)
    small_disk(resource.RLIM_INFINITY)
    assert 0 < len(read(files.trajectory, ":")) < 31
    run_md(copper, calculator=morse(), settings=often, files=files, resume=True)
    assert files.trajectory.read_bytes() == whole.trajectory.read_bytes()
    assert files.csv.read_bytes() == whole.csv.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ensemble": "nph"}, "ensemble='nph': must be one of nve, nvt-langevin"),
        ({"steps": -5}, "steps=-5: must be a whole number of at least 0"),
        ({"steps": 1.5}, "steps=1.5: must be a whole number"),
        ({"interval": 0}, "interval=0: must be a whole number of at least 1"),
        ({"checkpoint_interval": 0}, "checkpoint_interval=0"),
        ({"seed": -1}, "seed=-1"),
        ({"temperature_K": 0.0}, "temperature_K=0: must be above 0"),
        ({"temperature_K": -300.0}, "temperature_K=-300: must be above 0"),
        ({"timestep_fs": 0.0}, "timestep_fs=0: must be above 0, for instance 0.5"),
        ({"timestep_fs": float("nan")}, "timestep_fs=nan"),
        ({"friction_per_fs": 0.0}, "friction_per_fs=0"),
        ({"thermostat_time_fs": -1.0}, "thermostat_time_fs=-1"),
        ({"barostat_time_fs": 0.0}, "barostat_time_fs=0"),
        ({"pressure_GPa": float("inf"), "ensemble": "npt-mtk"}, "must be a finite number"),
        ({"pressure_GPa": 1.0, "ensemble": "nve"}, "has no effect on ensemble='nve'"),
        ({"pressure_GPa": Ramp(0.0, 5.0)}, "pressure_GPa=0.0:5.0 has no effect on ensemble"),
        ({"pressure_GPa": Ramp(0.0, float("nan")), "ensemble": "npt-mtk"}, "pressure_GPa=nan"),
        ({"temperature_K": Ramp(300.0, 0.0)}, "temperature_K=0: must be above 0"),
        ({"temperature_K": Ramp(1.0, 9.0), "ensemble": "nve"}, "choose one with a thermostat"),
        ({"cell": "round", "ensemble": "npt-mtk"}, "must be one of isotropic, anisotropic, full"),
        ({"cell": "full"}, "cell='full' has no effect on ensemble='nvt-langevin'"),
        ({"guards": None}, "guards=None: must be Guards, of which each limit may be None"),
    ],
)
def test_settings_outside_the_allowed_are_refused(wrong, message):
    with pytest.raises(OptionError, match=message):
        MDSettings(**{"steps": 10, **wrong})


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_masses_that_cannot_move_are_refused(morse, cluster, mass, files):
    masses = cluster.get_masses()
    masses[2] = mass
    cluster.set_masses(masses)
    with pytest.raises(StructureError, match=r"\(atom 2\) has a mass of .* needs masses above 0"):
        run_md(cluster, settings=MDSettings(steps=2), calculator=morse(), files=files)
    assert not any(path.exists() for path in files.paths())


def test_velocities_that_are_no_numbers_are_refused(morse, cluster):
    velocities = np.zeros((len(cluster), 3))
    velocities[1, 2] = np.nan
    cluster.set_velocities(velocities)
    with pytest.raises(StructureError, match="a velocity is not finite"):
        run_md(cluster, settings=MDSettings(steps=2), calculator=morse())


def test_too_much_friction_for_the_time_step_is_refused():
    with pytest.raises(
        OptionError, match=r"friction_per_fs=1 .*product must be at most 1, .* per fs"
    ):
        MDSettings(steps=1, friction_per_fs=1.0, timestep_fs=2.0)
    MDSettings(steps=1, friction_per_fs=0.5, timestep_fs=2.0)
    MDSettings(steps=1, ensemble="nve", friction_per_fs=1.0, timestep_fs=2.0)


def test_numbers_of_numpy_are_numbers(morse, copper, files):
    settings = MDSettings(
        steps=np.int64(4),
        temperature_K=np.float32(300),
        timestep_fs=np.float32(0.5),
        checkpoint_interval=np.int32(2),
        seed=np.int64(1),
    )
    run_md(copper, calculator=morse(), settings=settings, files=files)
    longer = dataclasses.replace(settings, steps=6, temperature_K=300.0)
    result = run_md(copper, calculator=morse(), settings=longer, files=files, resume=True)
    assert result.reason == "done"


def test_velocities_of_pymatgen_are_kept(morse):
    from pymatgen.core import Lattice, Structure

    given = Structure(
        Lattice.cubic(3.61),
        ["Cu"] * 4,
        [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        site_properties={
            "velocities": [[0.01, 0, 0], [-0.01, 0, 0], [0, 0, 0], [0, 0, 0]],
            "forces": [[9.0, 9, 9]] * 4,
        },
    )
    settings = MDSettings(steps=0, ensemble="nve")
    still = run_md(given, calculator=morse(), settings=settings).structure
    np.testing.assert_allclose(
        still.site_properties["velocities"], given.site_properties["velocities"], atol=1e-12
    )
    assert "forces" not in still.site_properties
    moved = run_md(given, calculator=morse(), settings=dataclasses.replace(settings, steps=5))
    np.testing.assert_allclose(
        np.array(moved.structure.site_properties["velocities"]) * (1 / units.fs),
        moved.atoms.get_velocities(),
    )
    assert np.abs(moved.atoms.get_velocities()[0, 0] * units.fs) < 0.01


@pytest.mark.parametrize("ensemble", ["npt-mtk", "npt-berendsen"])
def test_constant_pressure_of_a_molecule_is_refused(morse, cluster, ensemble, files):
    with pytest.raises(OptionError, match="periodic in three directions"):
        run_md(cluster, calculator=morse(), settings=MDSettings(1, ensemble), files=files)
    assert not files.checkpoint.exists()


def test_constant_pressure_with_constraints_is_refused(morse, copper):
    copper.set_constraint(FixAtoms([0]))
    with pytest.raises(OptionError, match="drop the constraints"):
        run_md(copper, calculator=morse(), settings=MDSettings(1, "npt-mtk"))


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (FixInternals(bonds=[[2.5, [0, 1]]]), "the constraint FixInternals has no temperature"),
        (FixedMode(np.ones((4, 3))), "the constraint FixedMode has no temperature"),
        (ExternalForce(0, 1, 0.1), "the constraint ExternalForce has no temperature"),
        (FixSubsetCom([0, 2]), "the constraint FixSubsetCom has no temperature"),
        (FixScaled([0], (0, 1, 0)), "FixScaled holds directions .* take FixedPlane or FixedLine"),
    ],
)
def test_constraints_that_spoil_the_temperature_are_refused(morse, skewed, constraint, message):
    skewed.set_constraint(constraint)
    with pytest.raises(OptionError, match=message):
        run_md(skewed, calculator=morse(), settings=SHORT)


def test_bond_lengths_that_contradict_each_other_are_refused(morse, cluster):
    lengths = FixBondLengths([(0, 2), (2, 4), (0, 4)], bondlengths=[2.0, 2.0, 9.0])
    cluster.set_constraint(lengths)
    with pytest.raises(StructureError, match="its constraints cannot be met"):
        run_md(cluster, calculator=morse(), settings=SHORT)


def test_bond_lengths_that_cannot_be_kept_on_the_way_are_a_guard(morse, cluster, monkeypatch):
    def give_up(self, atoms, new):
        raise RuntimeError("Did not converge")

    def break_down(now):
        if now.step == 3:
            monkeypatch.setattr(FixBondLengths, "adjust_positions", give_up)

    cluster.set_constraint(FixBondLengths([(0, 2)]))
    result = run_md(cluster, calculator=morse(), settings=SHORT, observer=break_down)
    assert result.reason.startswith("guard: its constraints could not be kept")
    assert result.steps == 3


def test_slab_on_a_plane_does_not_slide(morse, copper):
    copper.set_constraint(FixedPlane([0, 1], [0, 0, 1]))
    result = run_md(copper, calculator=morse(), settings=SHORT)
    np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0)[:2], 0, atol=1e-9)


def test_axes_of_a_skewed_cell_are_no_directions_to_stretch(morse, skewed):
    settings = MDSettings(1, "npt-mtk", cell="anisotropic")
    with pytest.raises(OptionError, match="needs cell vectors along them"):
        run_md(skewed, calculator=morse(), settings=settings)


def test_right_angles_that_are_rounded_are_axes_to_stretch(morse, copper):
    copper.cell[1, [0, 2]] = 6.8e-16, 2.6e-16  # as pymatgen's Lattice.orthorhombic has them
    settings = MDSettings(2, "npt-mtk", cell="anisotropic")
    assert run_md(copper, calculator=morse(), settings=settings).reason == "done"


def test_forces_that_are_no_gradient_are_refused_at_constant_energy(morse, copper):
    calculator = morse()
    calculator.direct_forces = True
    with pytest.raises(OptionError, match="no gradient of an energy"):
        run_md(copper, calculator=calculator, settings=SHORT)
    for change in ({"allow_direct_forces": True}, {"ensemble": "nvt-bussi"}):
        settings = dataclasses.replace(SHORT, steps=1, **change)
        assert run_md(copper, calculator=calculator, settings=settings).reason == "done"

    total = SumCalculator([calculator, EMT()])
    with pytest.raises(OptionError, match="no gradient of an energy"):
        run_md(copper, calculator=total, settings=SHORT)


def pushing(morse, direct_forces):
    """A potential with forces that also push the whole along x and turn it about z."""

    class Pushing(morse):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            arms = self.atoms.positions - self.atoms.get_center_of_mass()
            self.results["forces"] = self.results["forces"] + [0.02, 0, 0]
            self.results["forces"] += 0.02 * np.cross([0, 0, 1], arms)

    calculator = Pushing()
    calculator.direct_forces = direct_forces
    return calculator


@pytest.mark.parametrize("ensemble", ["nve", "nvt-bussi", "nvt-nose-hoover", "nvt-langevin"])
def test_direct_forces_do_not_set_the_whole_in_motion(morse, cluster, ensemble):
    settings = MDSettings(
        60, ensemble, timestep_fs=2.0, guards=Guards(max_gap=None), allow_direct_forces=True, seed=1
    )
    end = run_md(cluster, calculator=pushing(morse, True), settings=settings).atoms
    np.testing.assert_allclose(end.get_momenta().sum(axis=0), 0, atol=1e-10)
    if ensemble == "nvt-langevin":  # it pushes single atoms, which turns the whole
        return
    np.testing.assert_allclose(end.get_angular_momentum(), 0, atol=1e-9)
    # of another calculator they are a field
    end = run_md(cluster, calculator=pushing(morse, False), settings=settings).atoms
    assert end.get_momenta().sum(axis=0)[0] > 1
    assert end.get_angular_momentum()[2] > 1


def test_constant_pressure_without_a_stress_is_refused(copper):
    class Stressless(EMT):
        implemented_properties = ("energy", "forces")

    with pytest.raises(OptionError, match="needs a stress"):
        run_md(copper, calculator=Stressless(), settings=MDSettings(1, "npt-mtk"))


def test_all_atoms_fixed_is_refused(morse):
    atoms = bulk("Cu")
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(OptionError, match="every atom is fixed"):
        run_md(atoms, calculator=morse(), settings=SHORT)


def test_a_molecule_of_fixed_lengths_is_not_said_to_be_fixed(morse):
    dimer = Atoms("Cu2", [[0, 0, 0], [2.3, 0, 0]], constraint=FixBondLengths([(0, 1)]))
    with pytest.raises(OptionError, match="rigid, and ensemble='nve' leaves it at rest"):
        run_md(dimer, calculator=morse(), settings=MDSettings(1, "nve"))
