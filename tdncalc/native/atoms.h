// What happens at the atoms of a block: products, update, readout, and their derivatives.
#pragma once

#include "model.h"

// Features of a block that its backward pass needs again; all (components, BLOCK, channels).
struct Kept {
    float gathered[D * BLOCK * CE];
    float out[D * BLOCK * C];
    float hidden[BLOCK * H];
    float gates[BLOCK * (L + 1) * C];  // scalars first, then the gates of each degree
    float read[BLOCK * C];
};

// Short-lived features of one thread.
struct Scratch {
    Kept last;
    float gathered[D * BLOCK * CE];
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

// out += residual of the atom's element · state, both (DOUT, BLOCK, C).
template <int OUT>
INLINE void add_residual(const float* residual, const int32_t* elements, int count,
                         const float* state, float* out) {
    for (int d = 0; d < components(OUT); ++d)
        for (int slot = 0; slot < count; ++slot) {
            const float* w = residual + (elements[slot] * (OUT + 1) + degree_of(d)) * C;
            const int place = (d * BLOCK + slot) * C;
            for (int v = 0; v < C; v += VL)
                store(out + place + v, load(out + place + v) + load(w + v) * load(state + place + v));
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

// From s.gathered, messages (D, BLOCK, CE), to the layer's features, s.state (DOUT, BLOCK, C): fills
// kept. `before` are the features of the layer before, as many components as there are here.
template <int T>
static void forward(const Layer& layer, const int32_t* elements, int count, Scratch& s, Kept& kept,
                    const float* before) {
    constexpr int OUT = out_degree(T), DOUT = components(OUT);
    std::memcpy(kept.gathered, s.gathered, sizeof s.gathered);
    mix<L, CE, C>(s.gathered, layer.up, s.mixed);
    sum_powers<OUT>(layer, elements, count, s.mixed, s.total);
    mix<OUT, C, C>(s.total, layer.linear, kept.out);
    if constexpr (T > 0) add_residual<OUT>(layer.residual, elements, count, before, kept.out);
    multiply<BLOCK, C, H, false>(kept.out, layer.inner, kept.hidden);
    silu(kept.hidden, s.hidden, BLOCK * H);
    multiply<BLOCK, H, (OUT + 1) * C, false>(s.hidden, layer.outer, kept.gates);
    for (int d = 0; d < DOUT; ++d)
        for (int slot = 0; slot < BLOCK; ++slot) {
            const float* gate = kept.gates + (slot * (OUT + 1) + degree_of(d)) * C;
            const int place = (d * BLOCK + slot) * C;
            for (int v = 0; v < C; v += VL) {
                const V x = load(kept.out + place + v), g = load(gate + v);
                store(s.state + place + v, d ? x * (1.0f + g) : x + g);
            }
        }
}

// Energy of each atom from the scalars of its features (BLOCK, C), added to energies.
static void readout(const Layer& layer, int count, const float* scalars, Kept& kept, Scratch& s,
                    double* energies) {
    multiply<BLOCK, C, C, false>(scalars, layer.read_inner, kept.read);
    silu(kept.read, s.wide, BLOCK * C);
    for (int slot = 0; slot < count; ++slot) {
        V total = V{};
        for (int v = 0; v < C; v += VL)
            total += load(scalars + slot * C + v) * load(layer.read_linear + v) +
                     load(s.wide + slot * C + v) * load(layer.read_outer + v);
        energies[slot] += sum(total);
    }
}

// Adds the derivative of the readout's energies by the scalars.
static void readout_back(const Layer& layer, const Kept& kept, Scratch& s, float* back) {
    for (int slot = 0; slot < BLOCK; ++slot)
        for (int v = 0; v < C; v += VL) {
            store(s.wide + slot * C + v, load(layer.read_outer + v));
            store(back + slot * C + v, load(back + slot * C + v) + load(layer.read_linear + v));
        }
    silu_back(kept.read, s.wide, BLOCK * C);
    multiply<BLOCK, C, C, true>(s.wide, layer.read_inner_back, back);
}

// From the derivative by the layer's features, s.back (DOUT, BLOCK, C), to that by the gathered
// messages, s.gathered (D, BLOCK, CE), and by the features of the layer before, state_back, as many
// components as there are here.
template <int T>
static void backward(const Layer& layer, const int32_t* elements, int count, const Kept& kept,
                     Scratch& s, float* state_back) {
    constexpr int OUT = out_degree(T), DOUT = components(OUT);
    std::memset(s.wide, 0, sizeof s.wide);
    for (int d = 0; d < DOUT; ++d)
        for (int slot = 0; slot < BLOCK; ++slot) {
            const int place = (d * BLOCK + slot) * C, at = (slot * (OUT + 1) + degree_of(d)) * C;
            for (int v = 0; v < C; v += VL) {
                const V back = load(s.back + place + v);
                const V gate = d ? back * load(kept.out + place + v) : back;
                store(s.wide + at + v, load(s.wide + at + v) + gate);
                if (d) store(s.back + place + v, back * (1.0f + load(kept.gates + at + v)));
            }
        }
    multiply<BLOCK, (OUT + 1) * C, H, false>(s.wide, layer.outer_back, s.hidden);
    silu_back(kept.hidden, s.hidden, BLOCK * H);
    multiply<BLOCK, H, C, true>(s.hidden, layer.inner_back, s.back);
    if constexpr (T > 0) {
        std::memset(state_back, 0, sizeof(float) * DOUT * BLOCK * C);
        add_residual<OUT>(layer.residual, elements, count, s.back, state_back);
    }
    mix<OUT, C, C>(s.back, layer.linear_back, s.total);
    mix<L, CE, C>(kept.gathered, layer.up, s.mixed);  // again: it is wider than what was kept
    sum_powers_back<OUT>(layer, elements, count, s.mixed, s.total);
    mix<L, C, CE>(s.total, layer.up_back, s.gathered);
}
