import json

from ase.build import bulk
from ase.io import read, write


def test_frames_go_to_another_format(tdn, folder, files):
    write("run.traj", [bulk("Cu"), bulk("Cu", a=3.7)])
    outcome = tdn("convert", "run.traj", "-o", "run.xyz")
    assert (outcome.code, outcome.out, outcome.err) == (0, "wrote 2 frames to run.xyz\n", "")
    assert len(read("run.xyz", ":")) == 2


def test_viewer_trajectory_with_json(tdn, folder, files):
    write("run.traj", [bulk("Cu"), bulk("Cu", a=3.7)])
    facts = json.loads(tdn("convert", "run.traj", "-o", "run.xtc", "-j").out)
    assert (facts["frames"], facts["output"]) == (2, "run.xtc")
    assert files() == ["run.traj", "run.xtc"]


def test_output_is_needed(tdn, copper, files):
    assert tdn("convert", copper).code == 2
    assert files() == [copper]


def test_bad_input_is_told_of_and_the_rest_written(tdn, copper, folder):
    (folder / "bad.xyz").write_text("nonsense")
    outcome = tdn("convert", "bad.xyz", copper, "-o", "out.traj")
    assert outcome.code == 1
    assert "bad.xyz" in outcome.err
    assert len(read("out.traj", ":")) == 1
