import importlib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.trajectory import Trajectory

HERE = Path(__file__).parent
HEADER = (
    "step,time_fs,temperature_K,potential_eV,kinetic_eV,total_eV,pressure_GPa,volume_A3,max_force\n"
)


def with_results(atoms, energy, rng):
    forces = rng.normal(size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dynamics(folder):
    """A trajectory and a table as ``tdn md`` leaves them: ethanol that is shaken and drifts."""

    def make(stem="ethanol", n_frames=30, atoms=None, seed=1):
        rng = np.random.default_rng(seed)
        start = atoms or molecule("CH3CH2OH")
        rows = [HEADER]
        with Trajectory(f"{stem}-md.traj", "w") as file:
            for k in range(n_frames):
                frame = start.copy()
                shaken = rng.normal(scale=0.03, size=(len(start), 3))
                frame.positions += shaken + np.array([0.02 * k, 0, 0])
                frame.set_momenta(rng.normal(size=(len(start), 3)))
                file.write(with_results(frame, -100.0 - 0.1 * k, rng))
                kelvin = 300 + 10 * np.sin(k)
                rows.append(
                    f"{20 * k},{10 * k},{kelvin},{-100 - 0.1 * k},1.0,-99.0,,,{2 + k % 3}\n"
                )
        with open(f"{stem}-md.csv", "w") as table:
            table.writelines(rows)
        return f"{stem}-md"

    return make


@pytest.fixture
def structures(folder):
    """Structures and records as ``tdn relax A B C`` leaves them."""
    rng = np.random.default_rng(2)
    names = ["H2O", "CH4", "CH3CH2OH", "CH3OCH3"]
    frames = [molecule(name) for name in names]
    lines = []
    for number, (name, atoms) in enumerate(zip(names, frames, strict=True)):
        with_results(atoms, -10.0 * number, rng)
        atoms.info["input"] = f"{name}.xyz"
        lines.append(
            f'{{"input": "{name}.xyz", "n_atoms": {len(atoms)}, "steps": {9 - number}, '
            f'"converged": {"false" if number == 2 else "true"}, "reason": "no", '
            f'"energy_eV": {-10.0 * number}, "fmax_eV_per_A": 0.0{number}, "model": "organic", '
            '"model_sha256": "0", "relaxed_bytes": 1}\n'
        )
    write("relaxed.extxyz", frames)
    with open("relax.jsonl", "w") as file:
        file.writelines(lines)
    return folder


@pytest.fixture
def gas():
    """Atoms at random places in a skewed cell."""
    rng = np.random.default_rng(3)
    cell = np.array([[14.0, 0, 0], [4.0, 12.0, 0], [-3.0, 2.0, 13.0]])
    return [
        Atoms("Ar400", positions=rng.random((400, 3)) @ cell, cell=cell, pbc=True)
        for _ in range(20)
    ]


@pytest.fixture
def unpacking(monkeypatch):
    """The module that reads what a page holds."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("unpacking")
