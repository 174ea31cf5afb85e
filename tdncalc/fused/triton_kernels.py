"""Triton kernels of the message passing, without a tensor of edges, components and channels.

A program computes a block of channels of one atom and walks along that atom's edges, which a
:class:`tdncalc.fused.rows.Rows` lists: nothing is added by two programs, and results do not
depend on which comes first. The coupling tensor is unrolled into the code while it is compiled.
Names are those of :class:`tdncalc.fused.operator.Kernels`; ``rows`` are the tensors of Rows, and C
is the number of channels.
"""

import triton
import triton.language as tl

from tdncalc.fused.terms import Terms

__all__ = ["backward_source", "backward_target", "double_source", "double_target", "forward"]


@triton.constexpr_function
def _size(coupling: Terms, to: str):
    return coupling.size(to)


@triton.constexpr_function
def _degree(component: int):
    return int(component**0.5)


@triton.constexpr_function
def _n_outer(coupling: Terms, to: str, place: int):
    return len(coupling.by[to][place])


@triton.constexpr_function
def _outer(coupling: Terms, to: str, place: int, n: int):
    return coupling.by[to][place][n][0]


@triton.constexpr_function
def _n_inner(coupling: Terms, to: str, place: int, n: int):
    return len(coupling.by[to][place][n][1])


@triton.constexpr_function
def _inner(coupling: Terms, to: str, place: int, n: int, t: int):
    return coupling.by[to][place][n][1][t][0]


@triton.constexpr_function
def _value(coupling: Terms, to: str, place: int, n: int, t: int):
    return coupling.by[to][place][n][1][t][1]


@triton.jit
def _entry(inner, M: tl.constexpr, to: tl.constexpr, place: tl.constexpr, n: tl.constexpr):
    total = inner[_inner(M, to, place, n, 0)] * _value(M, to, place, n, 0)
    for t in tl.static_range(1, _n_inner(M, to, place, n)):
        total += inner[_inner(M, to, place, n, t)] * _value(M, to, place, n, t)
    return total


@triton.jit
def _couple(outer, inner, M: tl.constexpr, to: tl.constexpr, place: tl.constexpr):
    """Sum the coupling's products over two of its indices; the third is ``place``, of ``to``."""
    total = outer[_outer(M, to, place, 0)] * _entry(inner, M, to, place, 0)
    for n in tl.static_range(1, _n_outer(M, to, place)):
        total += outer[_outer(M, to, place, n)] * _entry(inner, M, to, place, n)
    return total


@triton.jit
def _channels(C: tl.constexpr, BLOCK: tl.constexpr):
    channels = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return channels, channels < C


@triton.jit
def _vectors(pointer, channels, mask, COUNT: tl.constexpr, C: tl.constexpr):
    """Load the channels of consecutive components, (COUNT, C), as a tuple."""
    found = ()
    for row in tl.static_range(COUNT):
        found = found + (tl.load(pointer + row * C + channels, mask=mask, other=0.0),)
    return found


@triton.jit
def _numbers(pointer, COUNT: tl.constexpr):
    found = ()
    for place in tl.static_range(COUNT):
        found = found + (tl.load(pointer + place),)
    return found


@triton.jit
def _zeros(like, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    found = ()
    for _ in tl.static_range(COUNT):
        found = found + (tl.zeros((BLOCK,), dtype=like.dtype.element_ty),)
    return found


@triton.jit
def _weighted(a, weights):
    """Multiply each component by the weight of its degree."""
    found = ()
    for k in tl.static_range(len(a)):
        found = found + (a[k] * weights[_degree(k)],)
    return found


@triton.jit
def _by_degree(a, z):
    """Sum the products of components over those of each degree."""
    found = ()
    for k in tl.static_range(len(a)):
        if _degree(k) == len(found):
            found = found + (a[k] * z[k],)
        else:
            found = found[:-1] + (found[-1] + a[k] * z[k],)
    return found


@triton.jit
def _store(pointer, values, channels, mask, C: tl.constexpr):
    for row in tl.static_range(len(values)):
        tl.store(pointer + row * C + channels, values[row], mask=mask)


@triton.jit
def _store_sums(pointer, values):
    for place in tl.static_range(len(values)):
        tl.store(pointer + place, tl.sum(values[place], axis=0))


@triton.jit
def forward(operands, rows, out, M: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr):
    """Gather A (N, D_out, C); one program per target and block of channels."""
    s, harmonics, weights = operands
    starts, edges, others = rows
    D_IN: tl.constexpr = _size(M, "in")
    D_EDGE: tl.constexpr = _size(M, "edge")
    D_OUT: tl.constexpr = _size(M, "out")
    N_DEGREES: tl.constexpr = _degree(D_OUT)
    atom = tl.program_id(0).to(tl.int64)
    channels, mask = _channels(C, BLOCK)
    total = _zeros(out, D_OUT, BLOCK)
    for place in range(tl.load(starts + atom), tl.load(starts + atom + 1)):
        edge, other = tl.load(edges + place).to(tl.int64), tl.load(others + place).to(tl.int64)
        sent = _vectors(s + other * (D_IN * C), channels, mask, D_IN, C)
        weight = _vectors(weights + edge * (N_DEGREES * C), channels, mask, N_DEGREES, C)
        y = _numbers(harmonics + edge * D_EDGE, D_EDGE)
        new = ()
        for k in tl.static_range(D_OUT):
            new = new + (total[k] + weight[_degree(k)] * _couple(sent, y, M, "out", k),)
        total = new
    _store(out + atom * (D_OUT * C), total, channels, mask, C)


@triton.jit(do_not_specialize=["n_edges"])
def backward_target(
    operands, rows, results, n_edges, M: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr
):
    """Differentiate by harmonics, a part (E, D_edge) per block of channels, and by weights."""
    a, s, harmonics, weights = operands
    starts, edges, others = rows
    by_harmonics, by_weights = results
    D_IN: tl.constexpr = _size(M, "in")
    D_EDGE: tl.constexpr = _size(M, "edge")
    D_OUT: tl.constexpr = _size(M, "out")
    N_DEGREES: tl.constexpr = _degree(D_OUT)
    atom = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1).to(tl.int64) * n_edges
    channels, mask = _channels(C, BLOCK)
    arrived = _vectors(a + atom * (D_OUT * C), channels, mask, D_OUT, C)
    for place in range(tl.load(starts + atom), tl.load(starts + atom + 1)):
        edge, other = tl.load(edges + place).to(tl.int64), tl.load(others + place).to(tl.int64)
        sent = _vectors(s + other * (D_IN * C), channels, mask, D_IN, C)
        weight = _vectors(weights + edge * (N_DEGREES * C), channels, mask, N_DEGREES, C)
        y = _numbers(harmonics + edge * D_EDGE, D_EDGE)
        coupled = ()
        for k in tl.static_range(D_OUT):
            coupled = coupled + (_couple(sent, y, M, "out", k),)
        _store(by_weights + edge * (N_DEGREES * C), _by_degree(arrived, coupled), channels, mask, C)
        weighted = _weighted(arrived, weight)
        by_y = ()
        for j in tl.static_range(D_EDGE):
            by_y = by_y + (_couple(weighted, sent, M, "edge", j),)
        _store_sums(by_harmonics + (part + edge) * D_EDGE, by_y)


@triton.jit
def backward_source(operands, rows, by_s, M: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr):
    """Differentiate by the features sent, (N, D_in, C); one program per source."""
    a, harmonics, weights = operands
    starts, edges, others = rows
    D_IN: tl.constexpr = _size(M, "in")
    D_EDGE: tl.constexpr = _size(M, "edge")
    D_OUT: tl.constexpr = _size(M, "out")
    N_DEGREES: tl.constexpr = _degree(D_OUT)
    atom = tl.program_id(0).to(tl.int64)
    channels, mask = _channels(C, BLOCK)
    total = _zeros(by_s, D_IN, BLOCK)
    for place in range(tl.load(starts + atom), tl.load(starts + atom + 1)):
        edge, other = tl.load(edges + place).to(tl.int64), tl.load(others + place).to(tl.int64)
        arrived = _vectors(a + other * (D_OUT * C), channels, mask, D_OUT, C)
        weight = _vectors(weights + edge * (N_DEGREES * C), channels, mask, N_DEGREES, C)
        weighted = _weighted(arrived, weight)
        y = _numbers(harmonics + edge * D_EDGE, D_EDGE)
        new = ()
        for i in tl.static_range(D_IN):
            new = new + (total[i] + _couple(weighted, y, M, "in", i),)
        total = new
    _store(by_s + atom * (D_IN * C), total, channels, mask, C)


@triton.jit(do_not_specialize=["n_edges"])
def double_target(
    cotangents,
    operands,
    rows,
    results,
    n_edges,
    M: tl.constexpr,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Differentiate T(a; h_s, Y, w) + T(a; s, h_Y, w) + T(a; s, Y, h_w) by a, Y and w."""
    h_s, h_harmonics, h_weights = cotangents
    a, s, harmonics, weights = operands
    starts, edges, others = rows
    by_a, by_harmonics, by_weights = results
    D_IN: tl.constexpr = _size(M, "in")
    D_EDGE: tl.constexpr = _size(M, "edge")
    D_OUT: tl.constexpr = _size(M, "out")
    N_DEGREES: tl.constexpr = _degree(D_OUT)
    atom = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1).to(tl.int64) * n_edges
    channels, mask = _channels(C, BLOCK)
    arrived = _vectors(a + atom * (D_OUT * C), channels, mask, D_OUT, C)
    total = _zeros(by_a, D_OUT, BLOCK)
    for place in range(tl.load(starts + atom), tl.load(starts + atom + 1)):
        edge, other = tl.load(edges + place).to(tl.int64), tl.load(others + place).to(tl.int64)
        sent = _vectors(s + other * (D_IN * C), channels, mask, D_IN, C)
        h_sent = _vectors(h_s + other * (D_IN * C), channels, mask, D_IN, C)
        first = edge * (N_DEGREES * C)
        weight = _vectors(weights + first, channels, mask, N_DEGREES, C)
        h_weight = _vectors(h_weights + first, channels, mask, N_DEGREES, C)
        y = _numbers(harmonics + edge * D_EDGE, D_EDGE)
        h_y = _numbers(h_harmonics + edge * D_EDGE, D_EDGE)
        new, varied = (), ()
        for k in tl.static_range(D_OUT):
            plain = _couple(sent, y, M, "out", k)
            other_two = _couple(h_sent, y, M, "out", k) + _couple(sent, h_y, M, "out", k)
            change = weight[_degree(k)] * other_two + h_weight[_degree(k)] * plain
            new, varied = new + (total[k] + change,), varied + (other_two,)
        total = new
        _store(by_weights + first, _by_degree(arrived, varied), channels, mask, C)
        weighted, h_weighted = _weighted(arrived, weight), _weighted(arrived, h_weight)
        by_y = ()
        for j in tl.static_range(D_EDGE):
            one = _couple(weighted, h_sent, M, "edge", j)
            by_y = by_y + (one + _couple(h_weighted, sent, M, "edge", j),)
        _store_sums(by_harmonics + (part + edge) * D_EDGE, by_y)
    _store(by_a + atom * (D_OUT * C), total, channels, mask, C)


@triton.jit
def double_source(
    cotangents, operands, rows, by_s, M: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr
):
    """Differentiate the same by s."""
    h_harmonics, h_weights = cotangents
    a, harmonics, weights = operands
    starts, edges, others = rows
    D_IN: tl.constexpr = _size(M, "in")
    D_EDGE: tl.constexpr = _size(M, "edge")
    D_OUT: tl.constexpr = _size(M, "out")
    N_DEGREES: tl.constexpr = _degree(D_OUT)
    atom = tl.program_id(0).to(tl.int64)
    channels, mask = _channels(C, BLOCK)
    total = _zeros(by_s, D_IN, BLOCK)
    for place in range(tl.load(starts + atom), tl.load(starts + atom + 1)):
        edge, other = tl.load(edges + place).to(tl.int64), tl.load(others + place).to(tl.int64)
        arrived = _vectors(a + other * (D_OUT * C), channels, mask, D_OUT, C)
        first = edge * (N_DEGREES * C)
        weight = _vectors(weights + first, channels, mask, N_DEGREES, C)
        h_weight = _vectors(h_weights + first, channels, mask, N_DEGREES, C)
        weighted, h_weighted = _weighted(arrived, weight), _weighted(arrived, h_weight)
        y = _numbers(harmonics + edge * D_EDGE, D_EDGE)
        h_y = _numbers(h_harmonics + edge * D_EDGE, D_EDGE)
        new = ()
        for i in tl.static_range(D_IN):
            one = _couple(weighted, h_y, M, "in", i)
            new = new + (total[i] + one + _couple(h_weighted, y, M, "in", i),)
        total = new
    _store(by_s + atom * (D_IN * C), total, channels, mask, C)
