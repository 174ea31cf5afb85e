"""The operators of message passing against the layer that they stand for."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tdncalc.fused.operator import (
    Reference,
    coupling_key,
    gather_product,
    gather_product_backward,
    gather_product_double_backward,
)
from tdncalc.nn.coupling import coupling_tensor

N, E, C = 5, 9, 3


def operands(l_in: int, l_out: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    torch.manual_seed(0)
    d_in, d_out = (l_in + 1) ** 2, (l_out + 1) ** 2
    shapes = [(N, d_in, C), (E, d_out), (E, l_out + 1, C)]
    floats = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    edges = [torch.randint(0, N - 1, (E,)) for _ in range(2)]  # the last atom has none
    return floats, edges, coupling_tensor(l_out)[:d_in]


def test_what_is_gathered_is_the_sum_over_edges() -> None:
    (s, harmonics, weights), (source, target), coupling = operands(2, 2)
    found = gather_product(s, harmonics, weights, source, target, coupling_key(coupling))
    expected = torch.zeros(N, 9, C, dtype=torch.float64)
    degree = [0, 1, 1, 1, 2, 2, 2, 2, 2]
    for edge in range(E):
        coupled = torch.einsum("abk,ac,b->kc", coupling, s[source[edge]], harmonics[edge])
        expected[target[edge]] += coupled * weights[edge, degree]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("l_in", "l_out"), [(0, 2), (1, 1)])
def test_gradients_of_both_orders_match_finite_differences(l_in: int, l_out: int) -> None:
    floats, edges, coupling = operands(l_in, l_out)
    key = coupling_key(coupling)

    def function(*leaves: Tensor) -> Tensor:
        return gather_product(*leaves, *edges, key)

    assert torch.autograd.gradcheck(function, floats)
    assert torch.autograd.gradgradcheck(function, floats)


def test_the_operators_are_sound_for_torch() -> None:
    floats, edges, coupling = operands(1, 1)
    key = coupling_key(coupling)
    torch.library.opcheck(gather_product, (*floats, *edges, key))
    a = torch.randn(N, 4, C, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(gather_product_backward, (a, *floats, *edges, key))
    fixed = [x.detach() for x in (a, *floats)]
    torch.library.opcheck(gather_product_double_backward, (fixed[1:], *fixed, *edges, key))


class Copies(TorchDispatchMode):
    """Counts the tensors that are copied from one device to another."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default:
            self.n += args[0].device != found.device
        return found


def test_definition_waits_for_another_device_once():
    # "meta" stands for a GPU; what is recorded there must copy nothing from the CPU
    reference = Reference(coupling_tensor(1))
    shapes = (3, 4, 8), (5, 4), (5, 2, 8)  # 3 atoms, 5 edges, 8 channels
    s, harmonics, weights = (torch.ones(shape, device="meta") for shape in shapes)
    source = target = torch.zeros(5, dtype=torch.int64, device="meta")
    found = []
    for _ in range(2):
        with Copies() as copies:
            a = reference.forward(s, harmonics, weights, source, target)
            reference.backward(a, s, harmonics, weights, source, target)
        found.append(copies.n)
    assert found[0] > found[1] == 0
