"""The physics checks pass where physics is right, and find each way of being wrong."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.stress import full_3x3_to_voigt_6_stress

from tdncalc.checkpoint import load_model
from tdncalc.errors import StructureError
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.selftest.checks import selftest
from tdncalc.selftest.samples import sample_structures


@pytest.mark.parametrize(
    ("dtype", "evaluation", "number"),
    [("float32", "eager", 18), ("float32", "compiled", 20), ("float64", "eager", 18)],
)
def test_the_bundled_model_passes(dtype, evaluation, number):
    checks = selftest(load_model("organic", dtype=dtype, evaluation=evaluation))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == number


def test_a_kernel_that_computes_another_model_is_found():
    potential = load_model("organic-small", dtype="float32", evaluation="compiled")
    with torch.no_grad():  # the kernel has a copy of the weights
        potential.network.readouts[0].linear.mul_(1.01)
    checks = selftest(potential, [molecule("CH3OH")])
    assert {c.check for c in checks if not c.passed} == {
        "kernel = PyTorch, energy",
        "kernel = PyTorch, forces",
    }


class Wrong:
    """A smooth pair potential with a fault, in the place of a model."""

    dtype = torch.float64
    evaluation = "eager"
    dispersion = None
    elements = ("H", "C", "O")
    cutoff = 4.0

    def __init__(self, fault=None):
        self.fault = FAULTS.get(fault, lambda atoms, result, r: None)

    def evaluate(self, structures):
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms):
        (j, i), shift = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, self.cutoff)
        d = atoms.positions[j] + shift @ atoms.cell.array - atoms.positions[i]
        r = np.linalg.norm(d, axis=1)
        u = 1 - (r / self.cutoff) ** 2
        pulls = (-8 * u**3 / self.cutoff**2)[:, None] * d
        result = {"energy": 0.5 * (u**4).sum(), "forces": np.zeros((len(atoms), 3))}
        np.add.at(result["forces"], i, pulls)
        if atoms.cell.rank == 3:
            virial = 0.5 * np.einsum("ea,eb->ab", pulls, d)
            result["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
        self.fault(atoms, result, r)
        return result


def add(key, change):
    """Make a fault that adds something to one of the results."""

    def fault(atoms, result, r):
        if key in result:
            result[key] = result[key] + change(atoms, result, r)

    return fault


def handedness(atoms, result, r):
    return 1e-4 * np.linalg.det(atoms.positions[1:4] - atoms.positions[0])


FAULTS = {
    "scaled forces": add("forces", lambda atoms, result, r: 0.01 * result["forces"]),
    "pushed": add("forces", lambda atoms, result, r: np.array([0.0, 0.0, 1e-3])),
    "axis": add("energy", lambda atoms, result, r: 1e-4 * np.ptp(atoms.positions[:, 0]) ** 2),
    "chiral": add("energy", handedness),
    "place": add("energy", lambda atoms, result, r: 1e-3 * np.sin(atoms.positions[0, 0])),
    "order": add("energy", lambda atoms, result, r: 1e-3 * atoms.numbers[0]),
    "twisted": add(
        "forces", lambda atoms, result, r: 0.01 * np.cross(atoms.positions, [0.0, 0.0, 1.0])
    ),
    "jump": add("energy", lambda atoms, result, r: 1e-4 * len(r)),
    "size": add("energy", lambda atoms, result, r: 1e-4 * len(atoms) ** 2),
    "pressure": add("stress", lambda atoms, result, r: 1e-3),
}


CRYSTAL = bulk("C", cubic=True)
CRYSTAL.rattle(0.05, seed=1)
STRUCTURES = [sample_structures(("H", "C", "O"))["chiral cluster"], CRYSTAL]


def failed(fault):
    return {check.check for check in selftest(Wrong(fault), STRUCTURES) if not check.passed}


def test_a_right_potential_passes():
    assert failed(None) == set()


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("scaled forces", "forces = −dE/dr"),
        ("pushed", "net force"),
        ("axis", "rotation, energy"),
        ("chiral", "reflection, energy"),
        ("place", "translation, energy"),
        ("order", "permutation, energy"),
        ("jump", "crossing the cutoff, energy"),
        ("size", "two far copies, energy"),
        ("size", "supercell, energy"),
        ("pressure", "stress = dE/dε / V"),
    ],
)
def test_a_fault_is_found_by_its_check(fault, check):
    assert check in failed(fault)


def test_a_curl_is_found():
    twisted = failed("twisted")
    assert "curl of the forces" in twisted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_end_of_the_repulsion_is_no_curl(dtype):
    water = molecule("H2O")  # its bonds are 0.97 Å, as long as the repulsion of O and H reaches
    checks = selftest(load_model("organic-small", dtype=dtype), [water, molecule("CH3OH")])
    assert [check for check in checks if not check.passed] == []


def test_not_a_number_of_any_structure_fails():
    potential = load_model("organic-small", dtype="float64")
    with torch.no_grad():
        potential.network.embedding[potential.elements.index("B")] = float("nan")
    checks = selftest(potential, [molecule("BF3"), molecule("H2O")])
    assert {check.structure for check in checks if not check.passed} == {"0 (BF3)"}


def test_a_check_names_the_structure_where_it_is_worst():
    checks = {c.check: c for c in selftest(Wrong("jump"), [*STRUCTURES, molecule("H2O")])}
    jump = checks["crossing the cutoff, energy"]
    assert jump.structure in ("0 (COH3)", "0 (C2H2O)", "2 (H2O)")
    assert jump.value >= 1e-4
    assert jump.unit == "eV"


def test_no_structure_is_an_error():
    with pytest.raises(StructureError, match="no structure"):
        selftest(Wrong(), [])


@pytest.mark.parametrize("elements", [("Cu",), ("Au", "Pt"), ("H", "C", "F", "Cl", "Br")])
def test_sample_structures_hold_only_known_elements(elements):
    samples = sample_structures(elements)
    assert {"chiral cluster", "one-atom cell", "skewed cell", "chain"} <= set(samples)
    for atoms in samples.values():
        assert isinstance(atoms, Atoms)
        assert set(atoms.symbols) <= set(elements)
