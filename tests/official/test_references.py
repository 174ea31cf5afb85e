"""Energies and forces of the published code itself, where its reference files are at hand.

The environment variable TDNCALC_REFERENCE names their folder, ``airs_tdn``.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from tdncalc.official.network import published_network
from tdncalc.official.reading import read_checkpoint
from tdncalc.potential import Potential

FOLDER = Path(os.environ.get("TDNCALC_REFERENCE", ""))
MODELS = ("a_direct_l1", "b_gradient_l1", "c_direct_l2", "d_direct_l1_rank8")

pytestmark = pytest.mark.skipif(
    not os.environ.get("TDNCALC_REFERENCE"), reason="TDNCALC_REFERENCE names no reference files"
)


def potential(path, dtype, **settings):
    elements = ("H", "C", "N", "O", "F", "Ne", "He", "S", "Cl", "Br", "Ar", "Xe", "Kr")
    network, _ = published_network(read_checkpoint(path), {"elements": elements, **settings})
    return Potential(network, {"name": "reference"}, device=torch.device("cpu"), dtype=dtype)


def cases(reference):
    return sorted({name.split(".")[0] for name in reference.files})


def graphs(reference, case):
    z, positions, batch = (reference[f"{case}.{key}"] for key in ("z", "pos", "batch"))
    return [Atoms(z[batch == b], positions[batch == b]) for b in range(batch.max() + 1)]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("model", MODELS)
def test_reference_outputs_are_reproduced(model, dtype, tolerance):
    reference = np.load(FOLDER / model / "reference.npz")
    path = next(FOLDER.joinpath(model).glob("tdn_best_model_True_2_64_0.0005.pth"))
    precision = {torch.float64: "f64", torch.float32: "f32"}[dtype]
    for case in cases(reference):
        rule = "without-self" if case.endswith("fixedlib") else "with-self"
        for forces in ("direct", "gradient"):
            model_here = potential(path, dtype, forces=forces, truncation=rule)
            results = model_here.evaluate(graphs(reference, case))
            energies = np.array([r["energy"] for r in results])
            found = np.concatenate([r["forces"] for r in results])
            mask = reference[f"{case}.mask"]
            expected = reference[f"{case}.{precision}.energy"].reshape(-1)
            wanted = reference[f"{case}.{precision}.forces_{forces}"]
            assert np.abs(energies - expected).max() <= tolerance * np.abs(expected).max(), case
            assert np.abs(found[mask] - wanted).max() <= tolerance * np.abs(wanted).max(), case
            assert not found[~mask].any()


@pytest.mark.parametrize("model", MODELS)
def test_every_file_of_a_model_reads_and_tells_its_forces(model):
    trained = json.loads((FOLDER / model / "config.json").read_text())["gradient_force"]
    for path in FOLDER.joinpath(model).glob("*.pth"):
        checkpoint = read_checkpoint(path)
        network, _ = published_network(checkpoint, {"elements": ("H",)})
        assert network.config.n_layers == 2
        if "checkpoint" in path.name:
            assert checkpoint.forces == ("gradient" if trained else "direct")


def test_the_tensor_of_all_paths_is_the_reference():
    from tdncalc.nn.coupling import coupling_tensor

    tables = np.load(FOLDER / "tables" / "math_tables.npz")
    for l_max in (1, 2):
        tensor = coupling_tensor(l_max, paths="SO3", weights="equal").numpy()
        assert np.abs(tensor - tables[f"M_lmax{l_max}"]).max() < 1e-12
