// What happens at the atoms of a block in training: the network's layers, and how they change along
// a direction of the edge vectors, with the derivatives of both.
#pragma once

#include "atoms.h"
#include "dual.h"

// Energies and their derivatives; and the change of these along a direction.
enum Pass { VALUES, TANGENTS };

// Features of a block; all (components, BLOCK, channels).
struct Features {
    float gathered[D * BLOCK * CE];
    float mixed[D * BLOCK * C];
    float total[D * BLOCK * C];
    float out[D * BLOCK * C];
    float hidden[BLOCK * H], activated[BLOCK * H];
    float gates[BLOCK * (L + 1) * C];  // scalars first, then the gates of each degree
    float state[D * BLOCK * C];
    float read[BLOCK * C], read_activated[BLOCK * C];
};

// Derivatives of the energy by them.
struct Slopes {
    float mixed[D * BLOCK * C];
    float total[D * BLOCK * C];
    float out[D * BLOCK * C];
    float hidden[BLOCK * H], activated[BLOCK * H];
    float gates[BLOCK * (L + 1) * C];
    float state[D * BLOCK * C];
    float read[BLOCK * C];
    float sent[D * BLOCK * CE];   // by what the edges of the next layer fetch here
    float passed[D * BLOCK * C];  // by the features of the layer before, through the residual
};

// A block of one layer in both passes; those of TANGENTS only where that is the pass.
struct Block {
    const int32_t* elements;
    int count;
    Features *x, *x_along;
    Slopes *back, *back_along;
    const Features *before, *before_along;  // of the layer before
    const float* seed;                      // the loss's derivatives by the atoms' energies
};

using Gradient = LayerOf<float*>;

struct Silu {
    V value, slope, bend;
};

INLINE Silu silu_at(V x) {
    const V s = sigmoid(x);
    return {x * s, s * (1.0f + x * (1.0f - s)), s * (1.0f - s) * (2.0f + x * (1.0f - 2.0f * s))};
}

template <Pass P>
INLINE void activate(const float* x, const float* x_along, float* y, int n) {
    for (int v = 0; v < n; v += VL) {
        const Silu f = silu_at(load(x + v));
        store(y + v, P == VALUES ? f.value : f.slope * load(x_along + v));
    }
}

template <int OUT>
static void sum_powers_along(const Layer& layer, const Block& b) {
    constexpr int DOUT = components(OUT);
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < CV; ++v) {
            const int place = slot * C + v * VL, element = slot < b.count ? b.elements[slot] : 0;
            Dual a[D], power[CORRELATION][D];
            V sum[DOUT] = {};
            for (int d = 0; d < D; ++d)
                a[d] = {load(b.x->mixed + d * BLOCK * C + place),
                        load(b.x_along->mixed + d * BLOCK * C + place)};
            make_powers<OUT>(a, power);
            for (int n = 0; n < CORRELATION; ++n) {
                const float* w =
                    layer.powers + (n * N_ELEMENTS + element) * (OUT + 1) * C + v * VL;
                for (int d = 0; d < DOUT; ++d) sum[d] += power[n][d].d * load(w + degree_of(d) * C);
            }
            for (int d = 0; d < DOUT; ++d)
                store(b.x_along->total + d * BLOCK * C + place, sum[d]);
        }
}

// Adds the derivatives by the weights as well.
template <int OUT>
static void sum_powers_back_along(const Layer& layer, const Block& b, const Gradient& g) {
    constexpr int DOUT = components(OUT);
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < CV; ++v) {
            const int place = slot * C + v * VL, element = slot < b.count ? b.elements[slot] : 0;
            Dual a[D], power[CORRELATION][D], back[CORRELATION][D] = {}, a_back[D], total[DOUT];
            for (int d = 0; d < D; ++d)
                a[d] = {load(b.x->mixed + d * BLOCK * C + place),
                        load(b.x_along->mixed + d * BLOCK * C + place)};
            for (int d = 0; d < DOUT; ++d)
                total[d] = {load(b.back->total + d * BLOCK * C + place),
                            load(b.back_along->total + d * BLOCK * C + place)};
            make_powers<OUT>(a, power);
            for (int n = 0; n < CORRELATION; ++n) {
                const size_t at = (n * N_ELEMENTS + element) * (OUT + 1) * C + v * VL;
                V by_weight[OUT + 1] = {};
                for (int d = 0; d < DOUT; ++d) {
                    by_weight[degree_of(d)] += (power[n][d] * total[d]).d;
                    back[n][d] = total[d] * load(layer.powers + at + degree_of(d) * C);
                }
                for (int l = 0; l <= OUT; ++l)
                    store(g.powers + at + l * C, load(g.powers + at + l * C) + by_weight[l]);
            }
            make_powers_back<OUT>(a, power, back, a_back);
            for (int d = 0; d < D; ++d)
                store(b.back_along->mixed + d * BLOCK * C + place, a_back[d].d);
        }
}

template <int OUT, Pass P>
static void gate(const Block& b) {
    Features& y = P == VALUES ? *b.x : *b.x_along;
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < BLOCK; ++slot)
            for (int v = 0; v < C; v += VL) {
                const int at = (slot * (OUT + 1) + degree_of(d)) * C + v;
                const int place = (d * BLOCK + slot) * C + v;
                const V x = load(y.out + place), g = load(y.gates + at);
                V value = x + g;
                if (d && P == VALUES) value = x * (1.0f + g);
                if (d && P == TANGENTS)
                    value = x * (1.0f + load(b.x->gates + at)) + load(b.x->out + place) * g;
                store(y.state + place, value);
            }
}

template <int OUT, Pass P>
static void gate_back(const Block& b) {
    Slopes& y = P == VALUES ? *b.back : *b.back_along;
    std::memset(y.gates, 0, sizeof y.gates);
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < BLOCK; ++slot)
            for (int v = 0; v < C; v += VL) {
                const int at = (slot * (OUT + 1) + degree_of(d)) * C + v;
                const int place = (d * BLOCK + slot) * C + v;
                const V back = load(y.state + place);
                V by_gate = back, by_out = back;
                if (d) {
                    by_gate = back * load(b.x->out + place);
                    by_out = back * (1.0f + load(b.x->gates + at));
                }
                if (d && P == TANGENTS) {
                    const V value = load(b.back->state + place);
                    by_gate += value * load(b.x_along->out + place);
                    by_out += value * load(b.x_along->gates + at);
                }
                store(y.gates + at, load(y.gates + at) + by_gate);
                store(y.out + place, by_out);
            }
}

// From gathered messages to the layer's features.
template <int T, Pass P>
static void atoms_forward(const Layer& layer, const Block& b) {
    constexpr int OUT = out_degree(T);
    Features& y = P == VALUES ? *b.x : *b.x_along;
    mix<L, CE, C>(y.gathered, layer.up, y.mixed);
    if constexpr (P == VALUES)
        sum_powers<OUT>(layer, b.elements, b.count, y.mixed, y.total);
    else
        sum_powers_along<OUT>(layer, b);
    if constexpr (T > 0)
        weigh_residual<OUT>(layer.residual, b.elements, b.count,
                            (P == VALUES ? b.before : b.before_along)->state, y.out);
    mix<OUT, C, C, (T > 0)>(y.total, layer.linear, y.out);
    multiply<BLOCK, C, H, false>(y.out, layer.inner, y.hidden);
    activate<P>(b.x->hidden, y.hidden, y.activated, BLOCK * H);
    multiply<BLOCK, H, (OUT + 1) * C, false>(y.activated, layer.outer, y.gates);
    gate<OUT, P>(b);
    multiply<BLOCK, C, C, false>(y.state, layer.read_inner, y.read);
    activate<P>(b.x->read, y.read, y.read_activated, BLOCK * C);
}

// Derivatives by the scalars from the readout, added to those from the layers above.
template <Pass P>
static void readout_back(const Layer& layer, const Block& b) {
    Slopes& y = P == VALUES ? *b.back : *b.back_along;
    for (int slot = 0; slot < BLOCK; ++slot) {
        const float seed = P == VALUES ? 1.0f : slot < b.count ? b.seed[slot] : 0.0f;
        for (int v = 0; v < C; v += VL) {
            const int at = slot * C + v;
            const Silu f = silu_at(load(b.x->read + at));
            V slope = seed * f.slope;
            if (P == TANGENTS) slope += f.bend * load(b.x_along->read + at);
            store(y.read + at, load(layer.read_outer + v) * slope);
            store(y.state + at, load(y.state + at) + seed * load(layer.read_linear + v));
        }
    }
    multiply<BLOCK, C, C, true>(y.read, layer.read_inner_back, y.state);
}

template <Pass P>
static void activate_back(const Block& b) {
    for (int v = 0; v < BLOCK * H; v += VL) {
        const Silu f = silu_at(load(b.x->hidden + v));
        if (P == VALUES)
            store(b.back->hidden + v, f.slope * load(b.back->activated + v));
        else
            store(b.back_along->hidden + v,
                  f.slope * load(b.back_along->activated + v) +
                      f.bend * load(b.x_along->hidden + v) * load(b.back->activated + v));
    }
}

// From the derivatives by the layer's features, in `state`, to those by the gathered messages,
// (D, BLOCK, CE).
template <int T, Pass P>
static void atoms_back(const Layer& layer, const Block& b, const Gradient& g, float* gathered_back) {
    constexpr int OUT = out_degree(T);
    Slopes& y = P == VALUES ? *b.back : *b.back_along;
    readout_back<P>(layer, b);
    gate_back<OUT, P>(b);
    multiply<BLOCK, (OUT + 1) * C, H, false>(y.gates, layer.outer_back, y.activated);
    activate_back<P>(b);
    multiply<BLOCK, H, C, true>(y.hidden, layer.inner_back, y.out);
    if constexpr (T > 0)
        weigh_residual<OUT>(layer.residual, b.elements, b.count, y.out, y.passed);
    mix<OUT, C, C>(y.out, layer.linear_back, y.total);
    if constexpr (P == VALUES) {
        std::memcpy(y.mixed, y.total, sizeof(float) * components(OUT) * BLOCK * C);
        sum_powers_back<OUT>(layer, b.elements, b.count, b.x->mixed, y.mixed);
    } else {
        sum_powers_back_along<OUT>(layer, b, g);
    }
    mix<L, C, CE>(y.mixed, layer.up_back, gathered_back);
}

// g (K, N) += xᵀ y for x (ROWS, K), y (ROWS, N).
template <int ROWS, int K, int N>
INLINE void add_outer(const float* __restrict x, const float* __restrict y, float* __restrict g) {
    constexpr int NV = N / VL, TALL = VL == 16 && K % 8 == 0 ? 8 : 4;
    constexpr int WIDE = VL == 16 && NV % 3 == 0 ? 3 : NV % 2 == 0 ? 2 : 1;
    static_assert(K % TALL == 0 && N % VL == 0, "");
    for (int k = 0; k < K; k += TALL)
        for (int v = 0; v < NV; v += WIDE) {
            V total[TALL][WIDE];
#pragma GCC unroll 8
            for (int a = 0; a < TALL; ++a)
#pragma GCC unroll 3
                for (int b = 0; b < WIDE; ++b) total[a][b] = load(g + (k + a) * N + (v + b) * VL);
            for (int r = 0; r < ROWS; ++r) {
                V row[WIDE];
#pragma GCC unroll 3
                for (int b = 0; b < WIDE; ++b) row[b] = load(y + r * N + (v + b) * VL);
#pragma GCC unroll 8
                for (int a = 0; a < TALL; ++a) {
                    const V factor = fill(x[r * K + k + a]);
#pragma GCC unroll 3
                    for (int b = 0; b < WIDE; ++b) total[a][b] += factor * row[b];
                }
            }
#pragma GCC unroll 8
            for (int a = 0; a < TALL; ++a)
#pragma GCC unroll 3
                for (int b = 0; b < WIDE; ++b) store(g + (k + a) * N + (v + b) * VL, total[a][b]);
        }
}

// The product rule: of x and y the values and the tangents.
template <int ROWS, int K, int N>
INLINE void add_outer(const float* x, const float* x_along, const float* y, const float* y_along,
                      float* g) {
    add_outer<ROWS, K, N>(x_along, y, g);
    add_outer<ROWS, K, N>(x, y_along, g);
}

template <int DEGREE, int K, int N>
static void add_outer_by_degree(const float* x, const float* x_along, const float* y,
                                const float* y_along, float* g) {
    if constexpr (DEGREE > 0) add_outer_by_degree<DEGREE - 1, K, N>(x, x_along, y, y_along, g);
    constexpr int START = DEGREE * DEGREE * BLOCK, ROWS = (2 * DEGREE + 1) * BLOCK;
    add_outer<ROWS, K, N>(x + START * K, x_along + START * K, y + START * N, y_along + START * N,
                          g + DEGREE * K * N);
}

template <int OUT>
static void residual_gradient(const Block& b, float* g) {
    for (int slot = 0; slot < b.count; ++slot)
        for (int d = 0; d < components(OUT); ++d) {
            float* to = g + (b.elements[slot] * (OUT + 1) + degree_of(d)) * C;
            for (int v = 0; v < C; v += VL) {
                const int at = (d * BLOCK + slot) * C + v;
                store(to + v, load(to + v) + load(b.before_along->state + at) * load(b.back->out + at) +
                                  load(b.before->state + at) * load(b.back_along->out + at));
            }
        }
}

static void readout_gradient(const Block& b, const Gradient& g) {
    for (int slot = 0; slot < b.count; ++slot)
        for (int v = 0; v < C; v += VL) {
            const int at = slot * C + v;
            store(g.read_linear + v, load(g.read_linear + v) + load(b.x_along->state + at) +
                                         b.seed[slot] * load(b.x->state + at));
            store(g.read_outer + v, load(g.read_outer + v) + load(b.x_along->read_activated + at) +
                                        b.seed[slot] * load(b.x->read_activated + at));
        }
}

// Adds the derivatives by a layer's matrices, once both passes are done.
template <int T>
static void weights_gradient(const Block& b, const Gradient& g) {
    constexpr int OUT = out_degree(T);
    const Features &x = *b.x, &xa = *b.x_along;
    const Slopes &y = *b.back, &ya = *b.back_along;
    add_outer_by_degree<L, CE, C>(x.gathered, xa.gathered, y.mixed, ya.mixed, g.up);
    add_outer_by_degree<OUT, C, C>(x.total, xa.total, y.out, ya.out, g.linear);
    add_outer<BLOCK, C, H>(x.out, xa.out, y.hidden, ya.hidden, g.inner);
    add_outer<BLOCK, H, (OUT + 1) * C>(x.activated, xa.activated, y.gates, ya.gates, g.outer);
    add_outer<BLOCK, C, C>(x.state, xa.state, y.read, ya.read, g.read_inner);
    readout_gradient(b, g);
    if constexpr (T > 0) residual_gradient<OUT>(b, g.residual);
}
