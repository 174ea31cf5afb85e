// What happens along the edges of one atom: geometry, messages, repulsion, and their derivatives.
#pragma once

#include <algorithm>

#include "model.h"

// VL edges of an atom: harmonics of their directions, and where their radial polynomials lie.
struct Edges {
    V u[3], y[D], length, inverse, slope;  // slope: of the place in the table by the length
    const float* radial[VL];
    float t[VL];       // place in the interval, −½ … ½
    int32_t atom[VL];  // the other atom
    int pair[VL];      // of elements
    int count;
};

// Read edges n … n + VL of an atom from its packed vectors (count, 3) and neighbors (count,). SIGN
// is 1 for the edges that end at the atom, −1 for those that start there. Missing ones repeat the last.
template <int SIGN>
INLINE void read(Edges& g, const Model& m, int layer, const int32_t* elements, int own,
                 const float* vectors, const int32_t* near, int n, int count) {
    alignas(64) float xyz[3][VL], low[VL], high[VL];
    g.count = std::min(VL, count - n);
    for (int e = 0; e < VL; ++e) {
        const int at = n + std::min(e, g.count - 1);
        for (int x = 0; x < 3; ++x) xyz[x][e] = SIGN * vectors[3 * at + x];
        g.atom[e] = near[at];
        const int other = elements[near[at]];
        g.pair[e] = SIGN > 0 ? other * N_ELEMENTS + own : own * N_ELEMENTS + other;
        high[e] = m.pairs[g.pair[e]].seen;
        low[e] = m.saturation * high[e];
    }
    const V x = load(xyz[0]), y = load(xyz[1]), z = load(xyz[2]);
    const V r = square_root(x * x + y * y + z * z);
    g.length = r;
    g.inverse = 1.0f / r;
    g.u[0] = x * g.inverse;
    g.u[1] = y * g.inverse;
    g.u[2] = z * g.inverse;
    harmonics(g.u, g.y);

    const V start = load(low), end = load(high), width = end - start;
    const V s = clamp((r - start) / width, 0.0f, 1.0f), s3 = s * s * s;
    const V felt = 0.5f * (start + end) + width * (s3 * s * (2.5f + s * (s - 3.0f))) +
                   clamp(r - end, 0.0f, 1e30f);
    const float inverse_step = 1.0f / m.step;
    const V root = square_root(felt);
    g.slope = s3 * (10.0f + s * (6.0f * s - 15.0f)) * (0.5f * inverse_step) / root;
    const V place = (root - m.origin) * inverse_step;
    for (int e = 0; e < VL; ++e) {
        const int k = std::max(0, std::min(int(place[e]), m.n_intervals - 1));
        g.t[e] = place[e] - float(k) - 0.5f;
        g.radial[e] = m.layers[layer].radial[g.pair[e]] + size_t(k) * ORDER * W;
    }
}

// A radial weight of VL channels: coefficients n at p + n·W.
INLINE V radial(const float* p, V t) {
    V value = load(p + (ORDER - 1) * W);
#pragma GCC unroll 8
    for (int n = ORDER - 2; n >= 0; --n) value = value * t + load(p + n * W);
    return value;
}

INLINE V radial(const float* p, V t, V& slope) {
    V value = load(p + (ORDER - 1) * W);
    slope = V{};
#pragma GCC unroll 8
    for (int n = ORDER - 2; n >= 0; --n) {
        slope = slope * t + value;
        value = value * t + load(p + n * W);
    }
    return value;
}

// First layer: the tables hold the source's features already.
INLINE void gather_first(const Edges& g, V (*a)[EV]) {
    for (int e = 0; e < g.count; ++e)
        for (int v = 0; v < EV; ++v) {
            V w[L + 1];
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l) w[l] = radial(g.radial[e] + l * CE + v * VL, fill(g.t[e]));
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) a[d][v] += fill(g.y[d][e]) * w[degree_of(d)];
        }
}

INLINE void gather(const Edges& g, const float* sent, V (*a)[EV]) {
    V t[N_COUPLINGS];
    coupling_matrix(g.y, t);
    for (int e = 0; e < g.count; ++e)
        for (int v = 0; v < EV; ++v) {
            V s[D], u[D];
            const float* from = sent + size_t(g.atom[e]) * D * CE + v * VL;
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) s[d] = load(from + d * CE);
            couple((const float*)t, e, s, u);
            V w[L + 1];
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l) w[l] = radial(g.radial[e] + l * CE + v * VL, fill(g.t[e]));
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) a[d][v] += u[d] * w[degree_of(d)];
        }
}

// Derivatives of the energy by harmonics and length, one vector of channels per edge, to be summed.
struct EdgeBack {
    V y[D][VL], place[VL];
};

INLINE void gather_first_back(const Edges& g, const V (*a_back)[EV], EdgeBack& back) {
    for (int e = 0; e < g.count; ++e) {
        V place = V{}, y[D] = {};
        for (int v = 0; v < EV; ++v) {
            V w[L + 1], slope[L + 1], along[L + 1] = {};
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l)
                w[l] = radial(g.radial[e] + l * CE + v * VL, fill(g.t[e]), slope[l]);
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) {
                y[d] += a_back[d][v] * w[degree_of(d)];
                along[degree_of(d)] += fill(g.y[d][e]) * a_back[d][v];
            }
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l) place += along[l] * slope[l];
        }
        back.place[e] = place;
#pragma GCC unroll 32
        for (int d = 0; d < D; ++d) back.y[d][e] = y[d];
    }
}

// Of edges that start at an atom with messages s: derivatives by s, harmonics and length.
INLINE void gather_back(const Edges& g, const float* gathered_back, const V (*s)[EV], V (*s_back)[EV],
                        EdgeBack& back) {
    V t[N_COUPLINGS];
    coupling_matrix(g.y, t);
    for (int e = 0; e < g.count; ++e) {
        V place = V{}, y[D] = {};
        for (int v = 0; v < EV; ++v) {
            V own[D], u[D], arrived[D], weighted[D], w[L + 1], slope[L + 1], along[L + 1] = {};
            const float* from = gathered_back + size_t(g.atom[e]) * D * CE + v * VL;
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) own[d] = s[d][v];
            couple((const float*)t, e, own, u);
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l)
                w[l] = radial(g.radial[e] + l * CE + v * VL, fill(g.t[e]), slope[l]);
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) {
                arrived[d] = load(from + d * CE);
                along[degree_of(d)] += u[d] * arrived[d];
                weighted[d] = arrived[d] * w[degree_of(d)];
            }
#pragma GCC unroll 8
            for (int l = 0; l <= L; ++l) place += along[l] * slope[l];
            couple_back((const float*)t, e, weighted, u);
#pragma GCC unroll 32
            for (int d = 0; d < D; ++d) s_back[d][v] += u[d];
            couple_back_harmonics(weighted, own, y);
        }
        back.place[e] = place;
#pragma GCC unroll 32
        for (int d = 0; d < D; ++d) back.y[d][e] = y[d];
    }
}

// Derivative by the edge vectors, given those by harmonics and lengths, which are used up.
INLINE void by_vector(const Edges& g, EdgeBack& back, V out[3]) {
    for (int e = g.count; e < VL; ++e) {
        back.place[e] = V{};
        for (int d = 0; d < D; ++d) back.y[d][e] = V{};
    }
    V y[D], u[3];
    for (int d = 0; d < D; ++d) y[d] = sums(back.y[d]);
    harmonics_back(g.y, y, u);
    const V along = u[0] * g.u[0] + u[1] * g.u[1] + u[2] * g.u[2];
    const V stretch = sums(back.place) * g.slope;
    for (int x = 0; x < 3; ++x) out[x] = (u[x] - along * g.u[x]) * g.inverse + stretch * g.u[x];
}

// Energy in eV of one directed edge from the short-range repulsion, and its derivative by the length.
// Ziegler, Biersack and Littmark, switched off at the pair's reach, and the wall below its seen length.
static float repulsion(const Model& m, const Pair& pair, float r, float& slope) {
    slope = 0;
    float energy = 0;
    if (r < pair.reach) {
        const float x = r * pair.inverse_length;
        float screen = 0, screen_slope = 0;
        for (int n = 0; n < 4; ++n) {
            const float term = m.screening[n] * std::exp(-m.screening[4 + n] * x);
            screen += term;
            screen_slope -= m.screening[4 + n] * term;
        }
        const float bare = pair.coulomb / r * screen;
        const float bare_slope = pair.coulomb / r * screen_slope * pair.inverse_length - bare / r;
        const float u = r / pair.reach, v = 1 - u;
        const float fall = v * v * v * (1 + u * (3 + u * (6 + u * (10 + u * 15))));
        const float fall_slope = -105 * u * u * u * u * v * v / pair.reach;
        energy += bare * fall;
        slope += bare_slope * fall + bare * fall_slope;
    }
    if (r < pair.seen) {
        const float v = 1 - r / pair.seen;
        energy += m.wall * v * v * v;
        slope -= 3 * m.wall * v * v / pair.seen;
    }
    slope /= 2;
    return energy / 2;
}
