"""The Triton kernels against the definition, in Triton's interpreter."""

import pytest
import torch

from tdncalc.fused.operator import Reference, coupling_key
from tdncalc.fused.terms import terms
from tdncalc.nn.coupling import coupling_tensor

pytest.importorskip("triton")
from tdncalc.fused.triton_operators import TritonKernels, block_sizes


def both(coupling, channels):
    kernels = TritonKernels(terms(coupling_key(coupling), coupling), channels)
    return kernels, Reference(coupling)


def operands(coupling, channels, n_atoms, n_edges):
    """Features, harmonics, weights and cotangents of some edges; the last atom has none."""
    generator = torch.Generator().manual_seed(0)
    d_in, d_edge, d_out = coupling.shape

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def given():
        n_degrees = int(d_out**0.5)
        shapes = (n_atoms, d_in, channels), (n_edges, d_edge), (n_edges, n_degrees, channels)
        return [draw(*shape) for shape in shapes]

    ends = [
        torch.randint(0, max(1, n_atoms - 1), (n_edges,), generator=generator) for _ in range(2)
    ]
    return given(), ends, draw(n_atoms, d_out, channels), given()


CASES = {
    "scalars sent, L=1": (0, 1, 48, 4, 6),
    "L=1, three blocks of channels": (1, 1, 96, 3, 5),
    "scalars sent, L=2": (0, 2, 5, 4, 5),
    "L=2, idle threads": (2, 2, 48, 4, 4),
    "scalars sent, L=3": (0, 3, 33, 3, 4),
    "L=3": (3, 3, 6, 3, 2),
    "one edge": (2, 2, 8, 2, 1),
    "no edge": (2, 2, 8, 2, 0),
    "fewer degrees sent": (1, 2, 8, 3, 4),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernels_compute_what_is_defined(case):
    l_in, l_max, channels, n_atoms, n_edges = case
    coupling = coupling_tensor(l_max)[: (l_in + 1) ** 2]
    kernels, reference = both(coupling, channels)
    given, ends, a, cotangents = operands(coupling, channels, n_atoms, n_edges)
    torch.testing.assert_close(kernels.forward(*given, *ends), reference.forward(*given, *ends))
    torch.testing.assert_close(
        kernels.backward(a, *given, *ends), reference.backward(a, *given, *ends)
    )
    torch.testing.assert_close(
        kernels.double_backward(cotangents, a, *given, *ends),
        reference.double_backward(cotangents, a, *given, *ends),
    )


def test_order_of_the_edges_changes_only_the_order_of_sums():
    coupling = coupling_tensor(1)
    kernels, _ = both(coupling, 8)
    (s, harmonics, weights), (source, target), a, _ = operands(coupling, 8, 4, 6)
    by_target = target.argsort(stable=True)
    first = kernels.backward(a, s, harmonics, weights, source, target)
    edges = [x[by_target] for x in (harmonics, weights, source, target)]
    second = kernels.backward(a, s, *edges)
    torch.testing.assert_close(first[0], second[0])
    assert torch.equal(first[1][by_target], second[1])
    assert torch.equal(first[2][by_target], second[2])


def test_float32_loses_no_more_than_rounding():
    coupling = coupling_tensor(2)
    kernels, reference = both(coupling, 16)
    given, ends, a, _ = operands(coupling, 16, 4, 6)
    single = [x.float() for x in given]
    found = kernels.backward(a.float(), *single, *ends)
    expected = reference.backward(a, *given, *ends)
    for one, exact in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - exact).abs().max() < 2e-6 * exact.abs().max()


@pytest.mark.parametrize(("channels", "blocks"), [(48, 64), (96, 32), (64, 64), (8, 32)])
def test_blocks_leave_the_fewest_threads_idle(channels, blocks):
    coupling = terms("L=2", coupling_tensor(2))
    assert block_sizes(coupling, channels) == (blocks, blocks)
