import pytest
import torch

from tdncalc.fused.checked import CheckedKernels
from tdncalc.fused.operator import Reference
from tdncalc.nn.coupling import coupling_tensor

N, E, C = 4, 9, 3
NAMES = ("forward", "backward", "double_backward")


def arguments(name):
    generator = torch.Generator().manual_seed(1)
    s, harmonics, weights, a = (
        torch.randn(shape, generator=generator)
        for shape in [(N, 4, C), (E, 4), (E, 2, C), (N, 4, C)]
    )
    ends = [torch.randint(0, N, (E,), generator=generator) for _ in range(2)]
    given = (s, harmonics, weights, *ends)
    return {
        "forward": given,
        "backward": (a, *given),
        "double_backward": ((s * 2, harmonics * 3, weights), a, *given),
    }[name]


class Kernels:
    """The definition, with a fault in the last of its results from a certain call on."""

    def __init__(self, fault, at_call=1):
        self.fault, self.at_call, self.calls = fault, at_call, []

    def __getattr__(self, name):
        def call(*given):
            self.calls.append(given)
            found = getattr(Reference(coupling_tensor(1)), name)(*given)
            if len(self.calls) < self.at_call:
                return found
            if isinstance(self.fault, Exception):
                raise self.fault
            return (
                (*found[:-1], found[-1] * self.fault) if name != "forward" else found * self.fault
            )

        return call


def checked(kernels):
    return CheckedKernels(kernels, Reference(coupling_tensor(1)))


@pytest.mark.parametrize("name", NAMES)
def test_kernel_that_agrees_is_used(name):
    kernels = Kernels(fault=1 + 1e-6)  # within rounding
    found = getattr(checked(kernels), name)(*arguments(name))
    expected = getattr(kernels, name)(*arguments(name))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert len(kernels.calls) == 3  # to be checked, to be used, and here


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (1.001, "ArithmeticError: .* is not what it is defined to be"),
        (float("nan"), "is not what it is defined to be"),
        (RuntimeError("no\nsuch device"), "RuntimeError: no such device"),
    ],
    ids=["wrong", "no number", "failing"],
)
def test_kernel_that_is_wrong_or_fails_is_replaced_with_one_warning(name, fault, told):
    kernels = checked(Kernels(fault))
    with pytest.warns(UserWarning, match=told):
        first = getattr(kernels, name)(*arguments(name))
    second = getattr(kernels, name)(*arguments(name))  # any warning were an error
    expected = getattr(Reference(coupling_tensor(1)), name)(*arguments(name))
    for found in (first, second):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_kernel_that_fails_later_is_replaced_too():
    kernels = checked(Kernels(RuntimeError("lost"), at_call=3))
    kernels.forward(*arguments("forward"))
    with pytest.warns(UserWarning, match="the kernel failed"):
        kernels.forward(*arguments("forward"))


def test_shortage_of_memory_is_not_a_failure_of_the_kernel():
    kernels = checked(Kernels(torch.OutOfMemoryError("CUDA out of memory"), at_call=3))
    first = kernels.forward(*arguments("forward"))
    with pytest.raises(torch.OutOfMemoryError):
        kernels.forward(*arguments("forward"))
    kernels._kernels.fault = 1.0
    assert torch.equal(kernels.forward(*arguments("forward")), first)


@pytest.mark.parametrize("name", NAMES)
def test_many_edges_are_checked_in_part(monkeypatch, name):
    monkeypatch.setattr("tdncalc.fused.checked._EDGES", 2)
    kernels = Kernels(fault=1.0)
    getattr(checked(kernels), name)(*arguments(name))
    assert [len(given[-1]) for given in kernels.calls] == [2, E]


def test_kernel_that_fails_in_a_recording_is_kept_and_the_error_is_the_recordings(monkeypatch):
    kernels = Kernels(RuntimeError("operation not permitted when stream is capturing"), at_call=3)
    tested = checked(kernels)
    tested.forward(*arguments("forward"))  # once to be checked
    for name in ("is_available", "is_current_stream_capturing"):
        monkeypatch.setattr(torch.cuda, name, lambda: True)
    with pytest.raises(RuntimeError, match="capturing"):
        tested.forward(*arguments("forward"))
    kernels.at_call = 5
    tested.forward(*arguments("forward"))
    assert len(kernels.calls) == 4
