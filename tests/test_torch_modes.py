import copy
import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tdncalc.calculator import TDNCalculator
from tdncalc.moving_batch import MovingBatch
from tests.structures import structure


@contextmanager
def half_precision_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(before)


# What a caller may have switched on; "meta" stands for a GPU, which not every machine has.
MODES = {
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "another default device": lambda: torch.device("meta"),
    "half precision by default": half_precision_by_default,
}


def findings(model_folder):
    """Load a model, and return everything that it can say of a structure."""
    calculator = TDNCalculator(model_folder, device="cpu")
    atoms = structure("organic box")
    atoms.calc = calculator
    (evaluated,) = calculator.potential.evaluate([atoms])
    batch = MovingBatch(calculator.potential)
    batch.change(np.empty(0, dtype=bool), [batch.member(atoms)])
    state, faults = batch.compute(atoms.positions, atoms.cell.array[None], stress=True)
    assert not faults
    return [
        atoms.get_potential_energy(),
        atoms.get_stress(),
        *evaluated.values(),
        state.forces,
        state.strain_gradient,
        calculator.get_hessian(atoms),
        calculator.get_descriptors(atoms),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_the_caller_changes_a_result(model_folder, mode):
    expected = findings(model_folder)
    with MODES[mode]():
        found = findings(model_folder)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_a_model_loaded_in_inference_mode_computes_outside_of_it(model_folder):
    with torch.inference_mode():
        calculator = TDNCalculator(model_folder, device="cpu")
    atoms = structure("aspirin")
    assert np.isfinite(calculator.get_hessian(atoms)).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_made_in_a_mode_of_the_caller_computes_the_same(model_folder, twin_of, mode):
    calculator = TDNCalculator(model_folder, device="cpu")
    atoms = structure("aspirin")
    forces, hessian = calculator.get_forces(atoms), calculator.get_hessian(structure("water"))
    with MODES[mode]():
        twin = twin_of(calculator)
    atoms.positions[0] += 0.01
    assert np.array_equal(twin.get_forces(atoms), calculator.get_forces(atoms))
    assert not np.array_equal(twin.get_forces(atoms), forces)
    assert np.array_equal(twin.get_hessian(structure("water")), hessian)


def test_modes_of_the_caller_remain(model_folder):
    with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"):
        findings(model_folder)
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.empty(0).device.type == "meta"
