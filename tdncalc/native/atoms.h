// What happens at the atoms of a block: products, update, readout, and their derivatives.
#pragma once

#include "bound.h"

// What the backward pass of a block needs of a layer; all (components, BLOCK, channels).
struct Kept {
    float* gathered;
    float* out;  // the features before their gates
};

constexpr int GATHERED = D * BLOCK * CE, OUT_SIZE = D * BLOCK * C;

// What it needs as well, and can compute again from `out`.
struct Gates {
    float hidden[BLOCK * H];
    float gates[BLOCK * (L + 1) * C];  // scalars first, then the gates of each degree
    float read[BLOCK * C];
};

// Short-lived features of one thread.
struct Scratch {
    float gathered[GATHERED];
    float out[OUT_SIZE];
    Gates gates;
    float messages[D * BLOCK * CE];
    float mixed[D * BLOCK * C];
    float total[D * BLOCK * C];
    float state[D * BLOCK * C];
    float back[D * BLOCK * C];
    float wide[BLOCK * (L + 1) * C];
    float hidden[BLOCK * H];
};

constexpr int components(int degree) { return (degree + 1) * (degree + 1); }

// Powers of VL channels of one atom: power n + 1 is power[n], the last has degree OUT only.
template <int OUT, class T>
INLINE void make_powers(const T a[D], T power[CORRELATION][D]) {
#pragma GCC unroll 32
    for (int d = 0; d < D; ++d) power[0][d] = a[d];
    if constexpr (CORRELATION == 2) Product<OUT>::square(a, power[1]);
    if constexpr (CORRELATION > 2) {
        Product<L>::square(a, power[1]);
#pragma GCC unroll 4
        for (int n = 2; n < CORRELATION - 1; ++n) Product<L>::times(power[n - 1], a, power[n]);
        Product<OUT>::times(power[CORRELATION - 2], a, power[CORRELATION - 1]);
    }
}

// Derivative by a, given those by the powers, which are used up.
template <int OUT, class T>
INLINE void make_powers_back(const T a[D], const T power[CORRELATION][D], T back[CORRELATION][D],
                             T a_back[D]) {
#pragma GCC unroll 32
    for (int d = 0; d < D; ++d) a_back[d] = back[0][d];
    if constexpr (CORRELATION == 2) Product<OUT>::square_back(a, back[1], a_back);
    if constexpr (CORRELATION > 2) {
        Product<OUT>::times_back(power[CORRELATION - 2], a, back[CORRELATION - 1],
                                 back[CORRELATION - 2], a_back);
#pragma GCC unroll 4
        for (int n = CORRELATION - 2; n > 1; --n)
            Product<L>::times_back(power[n - 1], a, back[n], back[n - 1], a_back);
        Product<L>::square_back(a, back[1], a_back);
    }
}

// Weighted sum of the powers of the mixed messages (D, BLOCK, C) -> total (DOUT, BLOCK, C).
template <int OUT>
INLINE void sum_powers(const Layer& layer, const int32_t* elements, int count, const float* mixed,
                       float* total) {
    constexpr int DOUT = components(OUT);
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < CV; ++v) {
            const int place = slot * C + v * VL, element = slot < count ? elements[slot] : 0;
            V a[D], power[CORRELATION][D], sum[DOUT] = {};
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) a[d] = load(mixed + d * BLOCK * C + place);
            make_powers<OUT>(a, power);
#pragma GCC unroll 4
            for (int n = 0; n < CORRELATION; ++n) {
                const float* w = layer.powers + (n * N_ELEMENTS + element) * (OUT + 1) * C + v * VL;
#pragma GCC unroll 32
                for (int d = 0; d < DOUT; ++d) sum[d] += power[n][d] * load(w + degree_of(d) * C);
            }
#pragma GCC unroll 32
            for (int d = 0; d < DOUT; ++d) store(total + d * BLOCK * C + place, sum[d]);
        }
}

// Derivative by the mixed messages, given that by their weighted sum of powers; in place.
template <int OUT>
INLINE void sum_powers_back(const Layer& layer, const int32_t* elements, int count,
                            const float* mixed, float* total_back) {
    constexpr int DOUT = components(OUT);
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < CV; ++v) {
            const int place = slot * C + v * VL, element = slot < count ? elements[slot] : 0;
            V a[D], power[CORRELATION][D], back[CORRELATION][D] = {}, sum[DOUT], a_back[D];
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) a[d] = load(mixed + d * BLOCK * C + place);
#pragma GCC unroll 32
            for (int d = 0; d < DOUT; ++d) sum[d] = load(total_back + d * BLOCK * C + place);
            make_powers<OUT>(a, power);
#pragma GCC unroll 4
            for (int n = 0; n < CORRELATION; ++n) {
                const float* w = layer.powers + (n * N_ELEMENTS + element) * (OUT + 1) * C + v * VL;
#pragma GCC unroll 32
                for (int d = 0; d < DOUT; ++d) back[n][d] = sum[d] * load(w + degree_of(d) * C);
            }
            make_powers_back<OUT>(a, power, back, a_back);
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) store(total_back + d * BLOCK * C + place, a_back[d]);
        }
}

// out = residual of the atom's element · state, both (DOUT, BLOCK, C); they may be the same.
template <int OUT>
INLINE void weigh_residual(const float* residual, const int32_t* elements, int count,
                           const float* state, float* out) {
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < BLOCK; ++slot) {
            const int element = slot < count ? elements[slot] : 0, place = (d * BLOCK + slot) * C;
            const float* w = residual + (element * (OUT + 1) + degree_of(d)) * C;
            for (int v = 0; v < C; v += VL) store(out + place + v, load(w + v) * load(state + place + v));
        }
}

INLINE void silu(const float* x, float* y, int n) {
    for (int v = 0; v < n; v += VL) {
        const V a = load(x + v);
        store(y + v, a * sigmoid(a));
    }
}

// y *= derivative of silu at x
INLINE void silu_back(const float* x, float* y, int n) {
    for (int v = 0; v < n; v += VL) {
        const V a = load(x + v), s = sigmoid(a);
        store(y + v, load(y + v) * s * (1.0f + a * (1.0f - s)));
    }
}

// From the features before their gates, out, to the layer's features, state (DOUT, BLOCK, C).
template <int T>
static void apply_gates(const float* out, const Gates& g, float* state) {
    constexpr int OUT = out_degree(T);
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < BLOCK; ++slot) {
            const float* gate = g.gates + (slot * (OUT + 1) + degree_of(d)) * C;
            const int place = (d * BLOCK + slot) * C;
            for (int v = 0; v < C; v += VL) {
                const V x = load(out + place + v), own = load(gate + v);
                store(state + place + v, d ? x * (1.0f + own) : x + own);
            }
        }
}

// The same with the gates, which are computed, into s.state.
template <int T>
static void find_gates(const Layer& layer, const float* out, Gates& g, Scratch& s) {
    multiply<BLOCK, C, H, false>(out, layer.inner, g.hidden);
    silu(g.hidden, s.hidden, BLOCK * H);
    multiply<BLOCK, H, (out_degree(T) + 1) * C, false>(s.hidden, layer.outer, g.gates);
    apply_gates<T>(out, g, s.state);
    multiply<BLOCK, C, C, false>(s.state, layer.read_inner, g.read);
}

// From kept.gathered to kept.out. `passed` holds the features of the layer before, as many components
// as there are here; it may be kept.out.
template <int T>
static void find_out(const Layer& layer, const int32_t* elements, int count, Scratch& s, Kept kept,
                     const float* passed) {
    constexpr int OUT = out_degree(T);
    mix<L, CE, C>(kept.gathered, layer.up, s.mixed);
    bound_norms(layer, elements, count, s.mixed);
    sum_powers<OUT>(layer, elements, count, s.mixed, s.total);
    if constexpr (T > 0) weigh_residual<OUT>(layer.residual, elements, count, passed, kept.out);
    mix<OUT, C, C, (T > 0)>(s.total, layer.linear, kept.out);
}

// Energy of each atom from the scalars of its features, added to energies.
static void readout(const Layer& layer, int count, const Gates& g, Scratch& s, double* energies) {
    silu(g.read, s.wide, BLOCK * C);
    for (int slot = 0; slot < count; ++slot) {
        V total = V{};
        for (int v = 0; v < C; v += VL)
            total += load(s.state + slot * C + v) * load(layer.read_linear + v) +
                     load(s.wide + slot * C + v) * load(layer.read_outer + v);
        energies[slot] += sum(total);
    }
}

// Adds the derivative of the readout's energies, times a slope of each atom, by the scalars.
static void readout_back(const Layer& layer, const Gates& g, Scratch& s, const float* slope,
                         float* back) {
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < C; v += VL) {
            store(s.wide + slot * C + v, slope[slot] * load(layer.read_outer + v));
            store(back + slot * C + v,
                  load(back + slot * C + v) + slope[slot] * load(layer.read_linear + v));
        }
    silu_back(g.read, s.wide, BLOCK * C);
    multiply<BLOCK, C, C, true>(s.wide, layer.read_inner_back, back);
}

// From the derivative by the layer's features but for its readout, back (DOUT, BLOCK, C), which is used
// up, to that by the gathered messages, s.messages (D, BLOCK, CE), and by the features of the layer
// before, passed, as many components as there are here; it may be kept.out. The slopes are those of
// the atoms' energies by what the readouts gave.
template <int T>
static void backward(const Layer& layer, const int32_t* elements, int count, Kept kept,
                     const Gates& g, Scratch& s, const float* slope, float* back, float* passed) {
    constexpr int OUT = out_degree(T);
    readout_back(layer, g, s, slope, back);
    std::memset(s.wide, 0, sizeof s.wide);
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < BLOCK; ++slot) {
            const int place = (d * BLOCK + slot) * C, at = (slot * (OUT + 1) + degree_of(d)) * C;
            for (int v = 0; v < C; v += VL) {
                const V own = load(back + place + v);
                const V gate = d ? own * load(kept.out + place + v) : own;
                store(s.wide + at + v, load(s.wide + at + v) + gate);
                if (d) store(back + place + v, own * (1.0f + load(g.gates + at + v)));
            }
        }
    multiply<BLOCK, (OUT + 1) * C, H, false>(s.wide, layer.outer_back, s.hidden);
    silu_back(g.hidden, s.hidden, BLOCK * H);
    multiply<BLOCK, H, C, true>(s.hidden, layer.inner_back, back);
    if constexpr (T > 0) weigh_residual<OUT>(layer.residual, elements, count, back, passed);
    mix<OUT, C, C>(back, layer.linear_back, s.total);
    mix<L, CE, C>(kept.gathered, layer.up, s.mixed);
    const Bound bound = bound_norms(layer, elements, count, s.mixed);
    sum_powers_back<OUT>(layer, elements, count, s.mixed, s.total);
    bound_norms_back(bound, s.mixed, s.total);
    mix<L, C, CE>(s.total, layer.up_back, s.messages);
}
