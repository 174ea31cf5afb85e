"""The kernel in C++ against the plain tensors it stands for, in float64."""

import pytest
import torch
from torch import Tensor

from tdncalc.fused.cpu import cpu_kernels
from tdncalc.fused.operator import Kernels, Reference
from tdncalc.native.build import find_compiler
from tdncalc.nn.coupling import coupling_tensor

COUPLINGS = {
    "scalars": (torch.eye(9).double()[None], 16),
    "two": (coupling_tensor(2) / 3, 16),
    "one": (coupling_tensor(1), 8),
}


@pytest.fixture(params=COUPLINGS)
def pair(request: pytest.FixtureRequest) -> tuple[Kernels, Reference, Tensor]:
    if find_compiler() is None:
        pytest.fail("there is no C++ compiler: install one, or the package ziglang")
    coupling, channels = COUPLINGS[request.param]
    kernels = cpu_kernels(coupling, channels)
    assert kernels is not None
    return kernels, Reference(coupling), torch.empty(*coupling.shape, channels, device="meta")


def operands(sizes: Tensor, n_edges: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return cotangents, operands and edges of 9 atoms in three structures, the last without."""
    generator = torch.Generator().manual_seed(n_edges)
    d_in, d_edge, d_out, channels = sizes.shape
    degrees = {1: 1, 4: 2, 9: 3}[d_out]
    s, y, w = (9, d_in, channels), (n_edges, d_edge), (n_edges, degrees, channels)
    shapes = [s, y, w, (9, d_out, channels), s, y, w]
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    edges = torch.randint(0, 4, (2, n_edges), generator=generator)
    edges[:, n_edges // 2 :] += 4
    return made[:3], made[3:], list(edges)


def assert_close(found: list[Tensor], exact: list[Tensor]) -> None:
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("n_edges", [0, 1, 40])
def test_the_kernel_equals_the_reference(pair, n_edges: int) -> None:
    kernels, reference, sizes = pair
    cotangents, (a, *rest), edges = operands(sizes, n_edges)
    exact = [x.double() for x in (*cotangents, a, *rest)]
    assert_close([kernels.forward(*rest, *edges)], [reference.forward(*exact[4:], *edges)])
    found = kernels.backward(a, *rest, *edges)
    assert_close(found, reference.backward(*exact[3:], *edges))
    found = kernels.double_backward(cotangents, a, *rest, *edges)
    assert_close(found, reference.double_backward(exact[:3], *exact[3:], *edges))


def test_results_do_not_depend_on_the_number_of_threads(pair) -> None:
    kernels, _, sizes = pair
    _, rest, edges = operands(sizes, 40)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(kernels.backward(*rest, *edges))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
