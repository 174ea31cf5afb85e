import dataclasses
import logging

import pytest
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixInternals, Hookean
from ase.io import Trajectory, read

from tdncalc.errors import CheckpointError, OutputError
from tdncalc.workflows.relax import RelaxSettings, relax
from tdncalc.workflows.relax_settings import OPTIMIZERS

SETTINGS = RelaxSettings(fmax=1e-4, cell="full")


class ExoticConstraint:
    """Holds the first atom, and cannot say so in a file."""

    def adjust_positions(self, atoms, new):
        new[0] = atoms.positions[0]

    def adjust_forces(self, atoms, forces):
        forces[0] = 0.0

    def get_removed_dof(self, atoms):
        return 3


SMALLER = RelaxSettings(fmax=1e-4)  # than the default, which they go on from


def test_every_step_is_a_frame_with_its_results(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    result = relax(copper, calculator=morse(), settings=SETTINGS, trajectory=path)
    frames = read(path, ":")
    assert len(frames) == result.steps + 1
    assert frames[0].positions == pytest.approx(copper.positions, abs=0)
    assert frames[-1].get_potential_energy() == result.energy


def test_existing_file_is_refused_and_left_alone(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"x\.traj exists"):
        relax(copper, calculator=morse(), trajectory=path)
    assert path.read_bytes() == b"mine"


def test_overwrite_replaces_it(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    path.write_bytes(b"mine")
    relax(copper, calculator=morse(), trajectory=path, overwrite=True)
    assert len(read(path, ":")) > 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", ["fixed", "full"])
def test_resumed_path_is_the_uninterrupted_one(morse, copper, tmp_path, optimizer, cell):
    settings = RelaxSettings(fmax=1e-4, optimizer=optimizer, cell=cell)
    whole, parts = tmp_path / "whole.traj", tmp_path / "parts.traj"
    expected = relax(copper, calculator=morse(), settings=settings, trajectory=whole)
    cut = dataclasses.replace(settings, steps=5)
    relax(copper, calculator=morse(), settings=cut, trajectory=parts)
    with parts.open("ab") as file:
        file.write(b"half a frame")
    calculator = morse()
    result = relax(copper, calculator=calculator, settings=settings, trajectory=parts, resume=True)
    assert parts.read_bytes() == whole.read_bytes()
    assert result.steps == expected.steps
    assert result.energy == expected.energy
    assert calculator.n_calls <= expected.steps - 4


def test_resume_of_a_finished_run_evaluates_only_the_end(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    first = relax(copper, calculator=morse(), settings=SETTINGS, trajectory=path)
    before = path.read_bytes()
    calculator = morse()
    again = relax(copper, calculator=calculator, settings=SETTINGS, trajectory=path, resume=True)
    assert (again.converged, again.steps) == (True, first.steps)
    assert calculator.n_calls == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("looser", [RelaxSettings(), RelaxSettings(steps=1)])
def test_resume_with_a_looser_limit_keeps_what_was_reached(morse, copper, tmp_path, looser):
    path = tmp_path / "x.traj"
    first = relax(copper, calculator=morse(), settings=SMALLER, trajectory=path)
    before = path.read_bytes()
    again = relax(copper, calculator=morse(), settings=looser, trajectory=path, resume=True)
    assert (again.converged, again.steps, again.energy) == (True, first.steps, first.energy)
    assert path.read_bytes() == before


def test_resume_without_a_file_begins(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    assert relax(copper, calculator=morse(), trajectory=path, resume=True).converged
    assert path.exists()


def test_resume_from_another_structure_is_refused(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    relax(copper, calculator=morse(), trajectory=path)
    copper.rattle(0.01, seed=7)
    with pytest.raises(CheckpointError, match="begins with another structure"):
        relax(copper, calculator=morse(), trajectory=path, resume=True)


def test_resume_with_another_option_is_refused_by_name(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    relax(copper, calculator=morse(), trajectory=path)
    with pytest.raises(CheckpointError, match="optimizer='lbfgs', not 'fire'"):
        relax(
            copper,
            calculator=morse(),
            trajectory=path,
            settings=RelaxSettings(optimizer="fire"),
            resume=True,
        )


def with_model(calculator, sha256):
    calculator.model_identity = {"name": "copper", "sha256": sha256}
    return calculator


def test_model_of_another_sha256_is_refused_and_nothing_cut(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    relax(copper, calculator=with_model(morse(), "a" * 64), trajectory=path)
    before = path.read_bytes()
    other = with_model(morse(), "b" * 64)
    with pytest.raises(
        CheckpointError, match=r"x\.traj was made with another model, 'copper' \(aaa"
    ):
        relax(copper, calculator=other, trajectory=path, settings=SMALLER, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("known", ["before", "after"])
def test_path_of_a_calculator_that_does_not_say_its_model_goes_on(morse, copper, tmp_path, known):
    path, (first, second) = tmp_path / "x.traj", (morse(), morse())
    with_model(first if known == "before" else second, "a" * 64)
    relax(copper, calculator=first, trajectory=path)
    result = relax(copper, calculator=second, trajectory=path, settings=SMALLER, resume=True)
    assert result.converged


def test_path_that_another_machine_took_is_left_where_it_differs(morse, copper, tmp_path, caplog):
    path = tmp_path / "x.traj"
    cut = dataclasses.replace(SETTINGS, steps=3)
    relax(copper, calculator=morse(), settings=cut, trajectory=path)
    frames = read(path, ":")
    path.unlink()
    frames[2].positions += 1e-3
    with Trajectory(path, "w") as writer:
        writer.set_description(
            {
                "type": "relaxation",
                "optimizer": "lbfgs",
                "cell": "full",
                "pressure_GPa": 0.0,
                "fix_symmetry": False,
            }
        )
        for frame in frames:
            writer.write(frame)
    with caplog.at_level(logging.WARNING):
        result = relax(copper, calculator=morse(), settings=SETTINGS, trajectory=path, resume=True)
    assert result.converged
    assert "leaves the recorded path at step 2" in caplog.text
    assert len(read(path, ":")) == result.steps + 1


def test_file_that_is_no_trajectory_is_refused(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    path.write_bytes(b"\x01" * 200)
    with pytest.raises(CheckpointError, match="not a trajectory that can be resumed"):
        relax(copper, calculator=morse(), trajectory=path, resume=True)


def test_a_trajectory_may_be_given_as_text(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    result = relax(copper, calculator=morse(), trajectory=str(path))
    assert len(read(path, ":")) == result.steps + 1


def test_folder_that_is_missing_is_an_output_error(morse, copper, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        relax(copper, calculator=morse(), trajectory=tmp_path / "no" / "x.traj")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([FixAtoms([1])], []),
        ([], [FixAtoms([1])]),
        ([FixAtoms([1])], [FixAtoms([2])]),
        ([FixAtoms([1])], [FixCartesian([1], mask=(True, False, False))]),
    ],
)
def test_other_constraints_are_refused_and_nothing_cut(morse, copper, tmp_path, before, after):
    path = tmp_path / "x.traj"
    copper.set_constraint(before)
    relax(copper, calculator=morse(), trajectory=path)
    data = path.read_bytes()
    copper.set_constraint(after)
    with pytest.raises(CheckpointError, match=r"x\.traj was made with other constraints"):
        relax(copper, calculator=morse(), trajectory=path, settings=SMALLER, resume=True)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "constraint",
    [
        FixAtoms([1]),
        FixBondLengths([(0, 2)]),
        FixInternals(bonds=[[None, [0, 2]]]),
        Hookean(0, (0.0, 0.0, 0.0), rt=0.1, k=1.0),
        ExoticConstraint(),
    ],
)
def test_same_constraints_go_on_along_the_same_path(morse, cluster, tmp_path, constraint):
    whole, parts = tmp_path / "whole.traj", tmp_path / "parts.traj"
    cluster.set_constraint(constraint)
    cut = dataclasses.replace(SMALLER, steps=3)
    relax(cluster, calculator=morse(), trajectory=whole, settings=SMALLER)
    relax(cluster, calculator=morse(), trajectory=parts, settings=cut)
    relax(cluster, calculator=morse(), trajectory=parts, settings=SMALLER, resume=True)
    assert parts.read_bytes() == whole.read_bytes()


def test_constraints_are_kept_in_the_frames(morse, copper, tmp_path):
    path = tmp_path / "x.traj"
    copper.set_constraint(FixAtoms([1]))
    relax(copper, calculator=morse(), trajectory=path, settings=RelaxSettings(fix_symmetry=False))
    assert read(path).constraints[0].index.tolist() == [1]
