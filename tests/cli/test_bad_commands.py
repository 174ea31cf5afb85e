"""A table of commands that cannot be: each one line that says why, and nothing written.

Columns: what was typed, and a word of the cause. Files named in it are made if `FILES` has them.
"""

import gzip
import shlex

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from pymatgen.core import Lattice, Structure

from tdncalc.cli.main import main

WATER = molecule("H2O")
COPPER = bulk("Cu", cubic=True)


def scaled(scale):
    return bulk("C", "fcc", a=scale)


def put(content):
    def save(path):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return save


def by_ase(atoms):
    return lambda path: write(path, atoms)


def folder_of(name, content):
    def save(path):
        path.mkdir()
        (path / name).write_text(content)

    return save


FILES = {
    "water.xyz": by_ase(WATER),
    "copper.extxyz": by_ase(COPPER),
    "many.xyz": by_ase([WATER, WATER]),
    "blank.xyz": put(b"\n\n"),
    "bytes.xyz": put(bytes(range(256)) * 8),
    "cut.xyz.gz": put(gzip.compress(b"3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n" * 20)[:40]),
    "words.xyz": put("2\n\nH 0 0 zero\nH 0 0 1\n"),
    "element.xyz": put("2\n\nQq 0 0 0\nH 0 0 1\n"),
    "dummy.xyz": put("2\n\nX 0 0 0\nH 0 0 1\n"),
    "minus.xyz": put("-3\n\nH 0 0 0\n"),
    "short.pdb": put("ATOM      1  C   MOL     1       0.000   0.000\n"),
    "few-POSCAR": put("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n2\nDirect\n0 0 0\n"),
    "bare.lmp": put(
        "LAMMPS\n\n1 atoms\n1 atom types\n\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nAtoms\n\n"
        "1 1 0 0 0\n"
    ),
    "broken.json": put('{"a": [1, 2'),
    "sites.json": put('{"sites": 5}'),
    "alloy.cif": lambda path: Structure(Lattice.cubic(3), [{"Si": 0.6, "C": 0.4}], [[0, 0, 0]]).to(
        path
    ),
    "thin.extxyz": by_ase(Atoms("C2", [[0, 0, 0], [1, 0, 0]], cell=[5, 5, 0], pbc=True)),
    "tiny.extxyz": by_ase(scaled(0.3)),
    "vast.extxyz": by_ase(Atoms("C2", [[0, 0, 0], [np.inf, 0, 0]])),
    "empty-folder": folder_of("notes.txt", "nothing"),
    "cardless": folder_of("notes.txt", "nothing"),
    "broken-model": folder_of("card.json", "{"),
    "tangled.yaml": put("data: [1, 2\n a: {"),
    "half.yaml": put("data: {train: [a.npz], valid: [b.npz]}\n"),
    "bytes.yaml": put(bytes(range(256))),
    "run.dcd": put(b"\0" * 100),
}

ROWS = """
energy missing.xyz                                   | no such file
energy blank.xyz                                     | is empty
energy bytes.xyz                                     | binary data
energy cut.xyz.gz                                    | Compressed file ended
energy words.xyz                                     | 'zero'
energy element.xyz                                   | no element 'Qq'
energy dummy.xyz                                     | element X (atom 0)
energy minus.xyz                                     | minus.xyz
energy short.pdb                                     | is no whole line of an atom
energy few-POSCAR                                    | few-POSCAR
energy bare.lmp                                      | names no elements
energy broken.json                                   | JSONDecodeError
energy sites.json                                    | sites.json
energy alloy.cif                                     | partially occupied
energy thin.extxyz                                   | no extent
energy tiny.extxyz                                   | repeats after 0.212 Å
energy vast.extxyz                                   | NaN or infinite
energy run.dcd                                       | run.dcd
energy empty-folder                                  | folder without structure files
energy water.xyz@x                                   | picks no frames
energy water.xyz@5                                   | no such frame
energy many.xyz@7:                                   | in that slice
energy many.xyz@::0                                  | picks no frames
energy                                               | INPUT
energy ""                                            | an INPUT is empty
convert "" -o all.extxyz                             | an INPUT is empty
energ water.xyz                                      | No such command
energy water.xyz --jsno                              | No such option
energy water.xyz --model nothing                     | no model 'nothing'
energy water.xyz --model cardless                    | cardless/card.json
energy water.xyz --model broken-model                | broken-model/card.json
energy water.xyz --model water.xyz                   | no model 'water.xyz'
energy water.xyz --device tpu                        | device 'tpu'
energy water.xyz --device cuda:x                     | device 'cuda:x'
energy water.xyz --dtype float16                     | 'float16' is not one of
energy water.xyz --threads two                       | 'two' is not a valid integer
energy water.xyz --product magic                     | 'magic' is not one of
energy water.xyz --evaluation fast                   | 'fast' is not one of
energy copper.extxyz                                 | element Cu (atom 0) is not in model
energy water.xyz -o water.xyz --overwrite            | is an INPUT
energy many.xyz@0 -o many.xyz --overwrite            | is an INPUT
energy water.xyz -o empty-folder                     | is a directory
energy water.xyz -o out.foo                          | no known format
energy water.xyz -o missing/out.xyz                  | folder missing does not exist
relax empty-folder                                   | folder without structure files
relax water.xyz --cell shape                         | needs a crystal
relax water.xyz --cell cubic                         | 'cubic' is not one of
relax water.xyz --fix-symmetry                       | needs a crystal
relax water.xyz --fix 7                              | atoms 7 are not among 0-2
relax water.xyz --fix 2-1                            | runs backwards
relax water.xyz --fix 0-                             | '0-' is neither
relax water.xyz --fix "z<"                           | 'z<' is neither
relax water.xyz --fix "q<5"                          | 'q<5' is neither
relax water.xyz --fix Pt                             | no atom of the structure
relax water.xyz --fix "z>100"                        | no atom of the structure
relax water.xyz --fix ""                             | '' is neither
relax water.xyz --fmax 1e400                         | --fmax inf
relax water.xyz --steps 1.5                          | '1.5' is not a valid integer
relax water.xyz --pressure 5GPa                      | '5GPa' is not a valid float
relax water.xyz --pressure 5                         | has no effect on --cell 'fixed'
relax water.xyz --optimizer newton                   | 'newton' is not one of
relax water.xyz -o water.xyz --overwrite             | is an INPUT
relax water.xyz --trajectory water.xyz --overwrite   | is an INPUT
relax water.xyz --trajectory x.traj -o x.traj        | two results have this name
relax water.xyz --trajectory water-relax.json        | its name must end in .traj
relax water.xyz --trajectory steps.extxyz            | its name must end in .traj
relax water.xyz --output-dir new -o new/water-relax.traj | two results have this name
md water.xyz --steps 5 --output-dir new -o new/water-md.traj | two results have this name
relax water.xyz -o water.cif                         | for crystals
relax many.xyz -o out.cif                            | .extxyz
relax many.xyz --trajectory a.traj                   | takes one structure
md water.xyz                                         | exactly one of --steps
md water.xyz --steps 5 --time "1 ps"                 | exactly one of --steps
md water.xyz --steps -5                              | -5 is not in the range
md water.xyz --steps many                            | 'many' is not a valid integer
md water.xyz --time "10 years"                       | not a time in fs, ps or ns
md water.xyz --time "-1 ps"                          | not a time in fs, ps or ns
md water.xyz --time "inf ps"                         | not a time in fs, ps or ns
md water.xyz --time "0.0001 fs"                      | is less than a step
md water.xyz --time "5 ps" --timestep 1e-320         | fs, too many
md water.xyz --time "1e300 ps"                       | steps of 0.5 fs, too many
md water.xyz --steps 5 --ensemble nvx                | 'nvx' is not one of
md water.xyz --steps 5 --temperature nan             | --temperature nan
md water.xyz --steps 5 --timestep 0                  | --timestep 0
md water.xyz --steps 5 --interval 1.5                | '1.5' is not a valid integer
md water.xyz --steps 5 --seed x                      | 'x' is not
md water.xyz --steps 5 --friction -1                 | --friction -1
md water.xyz --steps 5 --pressure 1                  | has no effect on --ensemble
md water.xyz --steps 5 -o water.xyz --overwrite      | is an INPUT
md water.xyz --steps 5 -o last.foo                   | no known format
md water.xyz --steps 5 -o last.cif                   | for crystals
md many.xyz --steps 5                                | several structures
md empty-folder --steps 5                            | folder without structure files
md water.xyz many.xyz --steps 5                      | extra argument
convert water.xyz                                    | -o FILE
convert water.xyz -o water.xyz --overwrite           | is an INPUT
convert many.xyz -o POSCAR                           | holds one structure, not 2
convert water.xyz -o out.cif                         | for crystals
models show nothing                                  | no model 'nothing'
models import missing.pth -o out                     | missing.pth
models import water.xyz -o out                       | not a PyTorch file
models frobnicate                                    | No such command
train missing.yaml                                   | no such file
train tangled.yaml                                   | not a readable YAML
train bytes.yaml                                     | not a readable YAML
train half.yaml                                      | half.yaml: model must be
evaluate missing.xyz                                 | no such data file
evaluate water.xyz --model nothing                   | no model 'nothing'
evaluate water.xyz -o water.xyz --overwrite          | is an INPUT
evaluate water.xyz --plot water.xyz --overwrite      | is an INPUT
evaluate water.xyz -o a.png --plot a.png             | two results have this name
selftest missing.xyz                                 | no such file
benchmark products --l-max x                         | --l-max x
"""
TABLE = [tuple(part.strip() for part in row.split(" | ")) for row in ROWS.strip().splitlines()]


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(typed, cause, capfd, folder):
    before = contents(folder)
    code = main(shlex.split(typed))
    out, err = capfd.readouterr()
    assert code in (1, 2)
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1, err
    assert cause in err
    assert "unexpected " not in err.removeprefix("Error: Got unexpected extra argument")
    assert contents(folder) == before


@pytest.mark.parametrize(("typed", "cause"), TABLE, ids=[typed for typed, _ in TABLE])
def test_bad_command_is_one_line(typed, cause, folder, capfd):
    for name in FILES:
        if any(word == name or word.startswith(f"{name}@") for word in shlex.split(typed)):
            FILES[name](folder / name)
    refused(typed, cause, capfd, folder)


def stale(folder, name):
    (folder / name).write_bytes(b"\x01" * 300)


RESUMED = {
    "relax copper.extxyz --resume --optimizer fire": (None, "optimizer='lbfgs', not 'fire'"),
    "relax copper.extxyz --resume --cell full": (None, "cell='fixed', not 'full'"),
    "relax other.extxyz --resume --trajectory copper-relax.traj": (None, "another structure"),
    "relax copper.extxyz --resume ": ("copper-relax.traj", "not a trajectory"),
    "md copper.extxyz --steps 9 --resume --timestep 1": (None, "timestep"),
    "md copper.extxyz --steps 9 --resume --ensemble nve": (None, "ensemble"),
    "md copper.extxyz --steps 9 --resume --seed 5": (None, "seed"),
}


@pytest.mark.parametrize("typed", RESUMED)
def test_run_that_cannot_go_on_is_one_line(typed, tdn, copper, folder, capfd):
    damaged, cause = RESUMED[typed]
    tdn("relax", copper, "--fmax", "1e-3", "-q")
    tdn("md", copper, "--steps", "4", "-q")
    write("other.extxyz", COPPER)
    if damaged:
        stale(folder, damaged)
    refused(typed, cause, capfd, folder)


def test_both_checkpoints_damaged_is_one_line(tdn, copper, folder, capfd):
    tdn("md", copper, "--steps", "4", "-q")
    for name in ("copper-md.checkpoint", "copper-md.checkpoint.previous"):
        stale(folder, name)
    refused("md copper.extxyz --steps 9 --resume", "copper-md.checkpoint", capfd, folder)
