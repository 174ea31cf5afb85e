import pytest
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read

from tdncalc.errors import CheckpointError
from tdncalc.workflows.traj_file import TrajectoryFile, cut_back, n_frames


def write(path, first, last, constraint=None):
    file = TrajectoryFile(path, {"made": "here"})
    for i in range(first, last):
        atoms = molecule("CH4")
        atoms.set_constraint(constraint)
        atoms.info["i"] = i
        atoms.positions += i
        file.write(atoms)
    file.close()


# The table of offsets grows behind frames 1 and 42.
@pytest.mark.parametrize("frames", [1, 2, 3, 41, 42, 43, 44, 59])
@pytest.mark.parametrize("constraint", [None, FixAtoms([0])])
def test_cut_file_is_the_file_that_ended_there(tmp_path, frames, constraint):
    short, long = tmp_path / "short.traj", tmp_path / "long.traj"
    write(short, 0, frames, constraint)
    write(long, 0, 60, constraint)
    with long.open("ab") as file:
        file.write(b"half a frame")
    cut_back(long, frames)
    assert long.read_bytes() == short.read_bytes()


def test_cut_file_grows_as_if_it_had_never_been_longer(tmp_path):
    straight, detour = tmp_path / "straight.traj", tmp_path / "detour.traj"
    write(straight, 0, 60)
    write(detour, 0, 50)
    cut_back(detour, 30)
    write(detour, 30, 60)
    assert detour.read_bytes() == straight.read_bytes()
    assert [atoms.info["i"] for atoms in read(detour, ":")] == list(range(60))


def test_cut_to_nothing_leaves_no_file(tmp_path):
    path = tmp_path / "x.traj"
    write(path, 0, 2)
    cut_back(path, 0)
    cut_back(path, 0)
    assert not path.exists()


def test_file_shorter_than_asked_is_refused(tmp_path):
    path = tmp_path / "x.traj"
    write(path, 0, 2)
    with pytest.raises(CheckpointError, match="has 2 frames where the checkpoint counts 3"):
        cut_back(path, 3)
    assert len(read(path, ":")) == 2


def test_file_that_was_only_begun_has_no_frames(tmp_path):
    path = tmp_path / "x.traj"
    assert n_frames(path) == 0
    path.write_bytes(b"- of UlmASE-Tr")
    assert n_frames(path) == 0
