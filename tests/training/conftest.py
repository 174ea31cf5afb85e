import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from tdncalc.nn.coupling import Coupling, build_coupling
from tdncalc.tdn import TDN, TDNConfig


@pytest.fixture(scope="session")
def coupling() -> Coupling:
    return build_coupling(1)


@pytest.fixture(scope="session")
def labeled() -> list[Atoms]:
    """Crystals of copper and gold and small clusters, shaken, with EMT's energies and forces."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(24):
        atoms = bulk("Cu", cubic=True) if index % 2 else Atoms("CuAuCu", 2.4 * np.eye(3))
        atoms.numbers[0] = 79 if index % 3 else 29
        atoms.rattle(0.15, rng=rng)
        atoms.calc = EMT()
        atoms.info["split"] = "test" if index % 8 == 0 else "train"
        atoms.info["config_type"] = "crystal" if index % 2 else "cluster"
        atoms.get_forces()
        if atoms.pbc.any():
            atoms.get_stress()
        frames.append(atoms)
    return frames


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory, labeled: list[Atoms]) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(folder / "all.extxyz", labeled)
    packed = (folder / "all.extxyz").read_bytes()
    (folder / "all.extxyz.xz").write_bytes(lzma.compress(packed))
    return folder


@pytest.fixture
def config_file(tmp_path: Path, data_folder: Path) -> Path:
    content = {
        "name": "tiny",
        "card": {"theory": "EMT", "licence": "MIT"},
        "model": {
            "elements": ["Cu", "Au"],
            "cutoff": 4.0,
            "l_max": 1,
            "channels": 8,
            "edge_channels": 8,
            "hidden": 8,
        },
        "data": {
            "root": str(data_folder),
            "train": ["all.extxyz#split=train"],
            "valid": ["all.extxyz.xz#split=test"],
        },
        "optimizer": {
            "steps": 40,
            "batch_size": 6,
            "warmup_steps": 5,
            "validate_every": 20,
            "compiled": False,
            "learning_rate": 0.01,
        },
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def network(coupling: Coupling) -> TDN:
    torch.manual_seed(1)
    config = TDNConfig(("Cu", "Au"), cutoff=4.0, l_max=1, channels=6, edge_channels=6, hidden=8)
    return TDN(config, coupling).float()
