"""What evaluates on a GPU, with the CPU in its place."""

import copy
import logging
import pickle

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from tdncalc.errors import OptionError, StructureError
from tdncalc.fused import fusing, gpu_choice, padding, repeated
from tdncalc.fused.checked import CheckedKernels
from tdncalc.fused.gpu_choice import GPUChoice
from tdncalc.fused.operator import find_kernels, register_kernels
from tdncalc.fused.recording import cuda_graph
from tdncalc.fused.triton_choice import triton_kernels

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def triton_on_cpu():
    """Let Triton's interpreter evaluate the operators on the CPU, where nothing is compiled."""
    triton = pytest.importorskip("triton")
    if not hasattr(triton, "constexpr_function"):
        pytest.skip("this Triton is too old")
    register_kernels("cpu", triton_kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusing, "start_build", lambda *_: None)
        patch.setattr(padding, "_LEAST", 8)  # the interpreter is slow
        patch.setattr(repeated, "_PATIENCE", 1)
        yield
    register_kernels("cpu", fusing.cpu_kernels)


def on_gpu(network, make_potential):
    """Return a potential in float32 as it is on a GPU."""
    made = make_potential(torch.float32, network, evaluation="eager")
    made.choice = GPUChoice(made.network, "compiled", CPU, torch.float32)
    made.choice.repeated.record = lambda function: function
    return made


SMALL = {"l_max": 1, "cutoff": 4.0}


@pytest.fixture
def fused(triton_on_cpu, make_network, make_potential):
    return on_gpu(make_network(**SMALL), make_potential)


def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def silicon():
    atoms = bulk("Si", "sc", a=3.8)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02), scale_atoms=True)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "settings"),
    [
        (water(), SMALL),
        (silicon(), SMALL),
        pytest.param(water(), {}, marks=pytest.mark.slow),
    ],
    ids=["molecule", "crystal", "L=2"],
)
def test_whole_network_is_the_same_at_rounding(
    triton_on_cpu, make_network, make_potential, atoms, settings
):
    exact, rounded = (
        make_potential(dtype, make_network(**settings), evaluation="eager")
        for dtype in (torch.float64, torch.float32)
    )
    fused = on_gpu(make_network(**settings), make_potential)
    graph = exact.graph(atoms)
    found = [fused.compute(graph, stress=True) for _ in range(2)]  # the second one is recorded
    exact, rounded = (one.compute(graph, stress=True) for one in (exact, rounded))
    for results in found:
        assert results.shortest == exact.shortest
        for name in ("energies", "forces", "strain_gradient"):
            right = getattr(exact, name)
            limit = 4e-6 * max(1.0, float(right.abs().max()))
            limit += 4 * float((getattr(rounded, name) - right).abs().max())
            assert float((getattr(results, name) - right).abs().max()) < limit


def test_calculator_hands_over_pairs_and_sees_atoms_in_one_place(
    fused, make_calculator, make_network, make_potential
):
    calculator, plain = make_calculator("float32"), make_calculator("float32")
    calculator.potential = fused
    plain.potential = make_potential(torch.float32, make_network(**SMALL), evaluation="eager")
    atoms = molecule("H2")
    np.testing.assert_allclose(
        calculator.get_forces(atoms), plain.get_forces(atoms), rtol=0, atol=1e-4
    )
    assert calculator._listed is not None
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(StructureError, match="at one point"):
        calculator.get_forces(atoms)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_find_their_own_kernels(fused, copied):
    other = copied(fused)
    assert other.choice.fused is not None
    assert other.choice.fused is not fused.choice.fused
    graph = fused.graph(molecule("H2"))
    torch.testing.assert_close(other.compute(graph).energy, fused.compute(graph).energy)


def test_choice_of_kernels_is_told(triton_on_cpu, make_network, caplog):
    with caplog.at_level(logging.INFO):
        choice = GPUChoice(make_network().float(), "compiled", CPU, torch.float32)
    assert "Triton's kernels gather messages" in caplog.text
    assert (choice.name(), choice.kernel(), choice.settle(wait=True)) == ("compiled", None, True)


def test_kernels_check_themselves(triton_on_cpu, make_network):
    coupling = fusing._coupling(make_network(), 1)
    assert isinstance(triton_kernels(coupling, 8), CheckedKernels)


@pytest.mark.parametrize(
    ("wanted", "dtype", "reason"),
    [
        ("eager", torch.float32, "it was asked for"),
        ("compiled", torch.float64, "the kernels compute in float32"),
        ("auto", torch.float32, "it was asked for"),  # the tests' TDNCALC_EVALUATION
    ],
)
def test_reason_for_pytorch_is_told(make_network, wanted, dtype, reason):
    arguments = make_network().to(dtype), wanted, CPU, dtype
    if wanted == "compiled":
        with pytest.raises(OptionError, match=f"'compiled' is not possible: {reason}"):
            GPUChoice(*arguments)
    else:
        choice = GPUChoice(*arguments)
        assert (choice.name(), choice.reason, choice.takes_pairs()) == ("eager", reason, False)


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("level", "dtype", "told"),
    [
        ("highest", torch.float32, False),
        ("high", torch.float32, True),
        ("high", torch.float64, False),
    ],
)
def test_products_in_tf32_are_told(make_network, precision, caplog, level, dtype, told):
    precision(level)
    GPUChoice(make_network().to(dtype), "eager", CPU, dtype)
    assert ("PyTorch is set to multiply float32 matrices in TF32" in caplog.text) == told


def test_products_in_tf32_are_told_when_they_are_switched_on_later(
    make_network, make_potential, precision, caplog
):
    precision("highest")
    potential = make_potential(torch.float32, make_network(**SMALL), evaluation="eager")
    potential.choice = GPUChoice(potential.network, "eager", CPU, torch.float32)
    graph = potential.graph(molecule("H2"))
    evaluations = (potential.compute, potential.hessian, potential.descriptors)
    for evaluate in evaluations:
        evaluate(graph)
    assert not caplog.messages
    for told, evaluate in enumerate(evaluations, start=1):
        precision("high")
        evaluate(graph)
        evaluate(graph)
        assert len(caplog.messages) == told  # once, until it is switched off
        precision("highest")
        evaluate(graph)


def test_a_step_is_recorded_anew_where_products_are_rounded(fused, precision, caplog):
    precision("highest")
    recorded = []
    fused.choice.repeated.record = lambda function: recorded.append(1) or function
    graph = fused.graph(molecule("H2"))
    for level, n_recorded in (("highest", 1), ("high", 2), ("highest", 3)):
        precision(level)
        for _ in range(3):
            fused.compute(graph)
        assert len(recorded) == n_recorded


@pytest.fixture
def forgotten():
    """Forget kernels that failed."""
    yield
    find_kernels.cache_clear()


def test_a_kernel_that_failed_evaluates_no_more(fused, forgotten, caplog):
    assert fused.evaluation == "compiled"
    assert fused.choice.reason is None
    key = fused.choice.fused.interactions[1].message.gather.keywords["coupling"]
    kernels = find_kernels(key, "cpu", 8)
    with pytest.warns(UserWarning, match="PyTorch gathers messages: the kernel failed"):
        kernels._give_up("RuntimeError: no device")
    fused.compute(fused.graph(molecule("H2")))
    assert fused.evaluation == "eager"
    assert fused.choice.reason == "the kernel failed (RuntimeError: no device)"
    assert not fused.choice.settle()
    assert fused.choice.takes_pairs()  # steps are still recorded
    with caplog.at_level(logging.INFO):
        assert copy.deepcopy(fused).evaluation == "eager"
    assert caplog.messages[-1].startswith("PyTorch evaluates: ")


def test_machine_without_triton_evaluates_by_pytorch(make_network, monkeypatch):
    monkeypatch.delenv("TDNCALC_EVALUATION")
    monkeypatch.setattr(gpu_choice, "find_spec", lambda name: None)
    choice = GPUChoice(make_network().float(), "auto", CPU, torch.float32)
    assert (choice.name(), choice.reason) == ("eager", "there is no Triton; install it")


def test_network_without_kernels_evaluates_by_pytorch(make_network, monkeypatch):
    monkeypatch.delenv("TDNCALC_EVALUATION")
    monkeypatch.setattr(gpu_choice, "find_spec", lambda name: object())
    monkeypatch.setattr(gpu_choice, "fuse", lambda network: network)
    choice = GPUChoice(make_network().float(), "auto", CPU, torch.float32)
    assert (choice.name(), choice.reason) == ("eager", "Triton's kernels are not possible")


def test_degrees_above_three_have_no_kernels():
    assert triton_kernels(torch.ones(25, 25, 25), 8) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it works")
def test_nothing_is_recorded_without_a_gpu(fused):
    fused.choice.repeated.record = cuda_graph
    graph = fused.graph(molecule("H2"))
    first, second = fused.compute(graph), fused.compute(graph)
    assert torch.equal(first.forces, second.forces)
    assert fused.choice.repeated.record is None


def test_machine_with_an_old_triton_evaluates_by_pytorch(make_network, monkeypatch):
    triton = pytest.importorskip("triton")
    monkeypatch.delenv("TDNCALC_EVALUATION")
    monkeypatch.delattr(triton, "constexpr_function")
    monkeypatch.setattr(triton, "__version__", "3.2.0")
    choice = GPUChoice(make_network().float(), "auto", CPU, torch.float32)
    reason = "Triton 3.2.0 is too old; 3.5 or newer comes with PyTorch 2.9"
    assert (choice.name(), choice.reason) == ("eager", reason)
