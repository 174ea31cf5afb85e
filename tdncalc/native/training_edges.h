// What happens along the edges in training: geometry, radial network, messages, and how they change
// along a direction of the edge vectors, with the derivatives of both.
#pragma once

#include "edges.h"
#include "training_atoms.h"

constexpr int CHUNK = 48;  // edges at a time
constexpr int LISTS = CHUNK / VL;
constexpr int HRV = HR / VL;

static_assert(CHUNK % VL == 0 && HR % VL == 0 && HR % 4 == 0, "hidden units must fill vectors");

// The radial network of a layer, in the packed weights or in their derivatives.
template <class P>
struct RadialOf {
    P basis, source, target, out, out_back;
};

using Radial = RadialOf<const float*>;

// VL edges: directions, harmonics, radial functions of the length that is felt, and slopes by it.
struct Shape {
    V u[3], inverse, bend, y[D], basis[K], slope[K], fall, fall_slope;
    V repulsive;               // derivative of the repulsion by the length
    V y_back[D], felt_back;    // derivatives of the energy
    V y_along[D], felt_along;  // change along the direction of the tangents
};

// Edges of a chunk; atoms are counted from the first of their group.
struct Chunk {
    Shape shapes[LISTS];
    int32_t source[CHUNK], target[CHUNK], from[CHUNK], to[CHUNK];  // atoms; elements
    int count;
    int64_t first;  // of its edges in the batch
};

// A chunk in one layer, by edge.
struct Radials {
    float weights[CHUNK * W];
    float weights_back[CHUNK * W];  // derivatives of the energy
    float hidden_back[CHUNK * HR];  // by what is activated and falls off
};

// The sine of x and its derivative, |x| < 100.
INLINE void sine(V x, V& value, V& slope) {
    const V n = (x * 0.318309886f + 12582912.0f) - 12582912.0f;  // multiples of π
    V f = x - n * 3.140625f;
    f = f - n * 9.67502593994140625e-4f;
    f = f - n * 1.509957990978376432e-7f;
    const V q = f * f;
    V s = -2.50521084e-8f + q * 1.60590438e-10f;
    s = 2.75573192e-6f + q * s;
    s = -1.98412698e-4f + q * s;
    s = 8.33333333e-3f + q * s;
    s = -1.66666667e-1f + q * s;
    V c = 2.08767570e-9f - q * 1.14707456e-11f;
    c = -2.75573192e-7f + q * c;
    c = 2.48015873e-5f + q * c;
    c = -1.38888889e-3f + q * c;
    c = 4.16666667e-2f + q * c;
    c = -0.5f + q * c;
    const V half = n * 0.5f;
    const V whole = (half + 12582912.0f) - 12582912.0f;
    const V sign = 1.0f - 4.0f * (half - whole) * (half - whole) * 2.0f;  // odd n: half − whole = ±½
    value = sign * (f + f * q * s);
    slope = sign * (1.0f + q * c);
}

INLINE void radial_functions(const Model& m, V felt, Shape& s) {
    const float cutoff = float(m.cutoff), scale = 0.5f * cutoff;
    const V inverse = 1.0f / felt, turn = felt * (3.14159265f / cutoff);
    for (int k = 0; k < K; ++k) {
        V value, slope;
        sine(turn * float(k + 1), value, slope);
        s.basis[k] = scale * value * inverse;
        s.slope[k] = (scale * float(k + 1) * (3.14159265f / cutoff) * slope - s.basis[k]) * inverse;
    }
    const V u = felt * (1.0f / cutoff), v = clamp(1.0f - u, 0.0f, 1.0f);
    s.fall = v * v * v * (1.0f + u * (3.0f + u * (6.0f + u * (10.0f + u * 15.0f))));
    s.fall_slope = -105.0f / cutoff * u * u * u * u * v * v;
}

// Shapes of VL edges from their vectors (count, 3); those missing repeat the last.
static void shape(const Model& m, const float* vectors, const int32_t* from, const int32_t* to,
                  int count, Shape& s, float* repulsions) {
    alignas(64) float xyz[3][VL], low[VL], high[VL];
    for (int e = 0; e < VL; ++e) {
        const int at = std::min(e, count - 1);
        for (int x = 0; x < 3; ++x) xyz[x][e] = vectors[3 * at + x];
        high[e] = m.pairs[from[at] * N_ELEMENTS + to[at]].seen;
        low[e] = m.saturation * high[e];
    }
    const V x = load(xyz[0]), y = load(xyz[1]), z = load(xyz[2]);
    const V r = square_root(x * x + y * y + z * z);
    s.inverse = 1.0f / r;
    s.u[0] = x * s.inverse;
    s.u[1] = y * s.inverse;
    s.u[2] = z * s.inverse;
    harmonics(s.u, s.y);
    const V start = load(low), end = load(high), width = end - start;
    const V t = clamp((r - start) / width, 0.0f, 1.0f), t3 = t * t * t;
    s.bend = t3 * (10.0f + t * (6.0f * t - 15.0f));
    radial_functions(m, 0.5f * (start + end) + width * (t3 * t * (2.5f + t * (t - 3.0f))) +
                            clamp(r - end, 0.0f, 1e30f), s);
    for (int e = 0; e < VL; ++e) {
        const int at = std::min(e, count - 1);
        float slope;
        repulsions[e] = repulsion(m, m.pairs[from[at] * N_ELEMENTS + to[at]], r[e], slope);
        s.repulsive[e] = slope;
    }
    for (int d = 0; d < D; ++d) s.y_back[d] = V{};
    s.felt_back = V{};
}

// How harmonics and felt length change along a direction of the vectors, (count, 3).
static void shape_along(const float* direction, int count, Shape& s) {
    alignas(64) float xyz[3][VL] = {};
    for (int e = 0; e < count; ++e)
        for (int x = 0; x < 3; ++x) xyz[x][e] = direction[3 * e + x];
    V h[3], along = V{};
    for (int x = 0; x < 3; ++x) {
        h[x] = load(xyz[x]);
        along += h[x] * s.u[x];
    }
    Dual u[3], y[D];
    for (int x = 0; x < 3; ++x) u[x] = {s.u[x], (h[x] - along * s.u[x]) * s.inverse};
    harmonics(u, y);
    for (int d = 0; d < D; ++d) s.y_along[d] = y[d].d;
    s.felt_along = along * s.bend;
}

// The energy's derivatives by the vectors, (count, 3).
static void shape_back(const Shape& s, int count, float* out) {
    V y[D], u[3];
    for (int d = 0; d < D; ++d) y[d] = s.y_back[d];
    harmonics_back(s.y, y, u);
    const V along = u[0] * s.u[0] + u[1] * s.u[1] + u[2] * s.u[2];
    const V stretch = s.felt_back * s.bend + s.repulsive;
    for (int x = 0; x < 3; ++x) {
        const V by = (u[x] - along * s.u[x]) * s.inverse + stretch * s.u[x];
        for (int e = 0; e < count; ++e) out[3 * e + x] = by[e];
    }
}

INLINE float lane(const V& v, int e) { return ((const float*)&v)[e]; }

// VL of the radial network's hidden units: their weights, and what they are at an edge.
struct Units {
    const Radial& r;
    const int v;
    V basis[K];

    INLINE_METHOD Units(const Radial& r, int v) : r(r), v(v) {
        for (int k = 0; k < K; ++k) basis[k] = load(r.basis + k * HR + v);
    }

    INLINE_METHOD Silu at(const Chunk& c, int e) const {
        const Shape& s = c.shapes[e / VL];
        V x = load(r.source + c.from[e] * HR + v) + load(r.target + c.to[e] * HR + v);
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) x += lane(s.basis[k], e % VL) * basis[k];
        return silu_at(x);
    }

    // By the length that is felt.
    INLINE_METHOD V slope(const Chunk& c, int e) const {
        const Shape& s = c.shapes[e / VL];
        V x = V{};
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) x += lane(s.slope[k], e % VL) * basis[k];
        return x;
    }
};

// The envelope at an edge, its slope by the length that is felt, and the change of that length.
struct Envelope {
    float fall, slope, felt;

    INLINE_METHOD Envelope(const Chunk& c, int e)
        : fall(lane(c.shapes[e / VL].fall, e % VL)),
          slope(lane(c.shapes[e / VL].fall_slope, e % VL)),
          felt(lane(c.shapes[e / VL].felt_along, e % VL)) {}
};

// Radial weights of a chunk, or their change along the direction.
template <Pass P>
static void radial_forward(const Radial& r, const Chunk& c, float* activated, float* weights) {
    for (int v = 0; v < HR; v += VL) {
        const Units units(r, v);
        for (int e = 0; e < c.count; ++e) {
            const Envelope g(c, e);
            const Silu f = units.at(c, e);
            V value = g.fall * f.value;
            if (P == TANGENTS)
                value = g.felt * (g.fall * f.slope * units.slope(c, e) + g.slope * f.value);
            store(activated + e * HR + v, value);
        }
    }
    std::memset(activated + c.count * HR, 0, sizeof(float) * (CHUNK - c.count) * HR);
    multiply<CHUNK, HR, W, false>(activated, r.out, weights);
}

// From the derivatives by the radial weights to those by the felt lengths.
static void radial_back(const Radial& r, Chunk& c, Radials& x) {
    std::memset(x.weights_back + c.count * W, 0, sizeof(float) * (CHUNK - c.count) * W);
    multiply<CHUNK, W, HR, false>(x.weights_back, r.out_back, x.hidden_back);
    V total[CHUNK] = {};
    for (int v = 0; v < HR; v += VL) {
        const Units units(r, v);
        for (int e = 0; e < c.count; ++e) {
            const Envelope g(c, e);
            const Silu f = units.at(c, e);
            total[e] += load(x.hidden_back + e * HR + v) *
                        (g.slope * f.value + g.fall * f.slope * units.slope(c, e));
        }
    }
    for (int n = 0; n < LISTS; ++n) c.shapes[n].felt_back += sums(total + n * VL);
}

// Adds the loss's derivatives by the radial network, given those of the tangents by the weights.
static void radial_gradient(const Radial& r, const Chunk& c, const Radials& x, float* weights_along,
                            float* buffer, const RadialOf<float*>& to) {
    float *activated = buffer, *along = buffer + CHUNK * HR, *back = buffer + 2 * CHUNK * HR;
    std::memset(weights_along + c.count * W, 0, sizeof(float) * (CHUNK - c.count) * W);
    std::memset(activated, 0, sizeof(float) * 2 * CHUNK * HR);
    multiply<CHUNK, W, HR, false>(weights_along, r.out_back, back);
    for (int v = 0; v < HR; v += VL) {
        const Units units(r, v);
        V by_basis[K] = {};
        for (int e = 0; e < c.count; ++e) {
            const Envelope g(c, e);
            const Silu f = units.at(c, e);
            const V change = g.felt * units.slope(c, e), drop = fill(g.slope * g.felt);
            store(activated + e * HR + v, g.fall * f.value);
            store(along + e * HR + v, g.fall * f.slope * change + drop * f.value);
            const V value = load(x.hidden_back + e * HR + v);
            const V by_x = value * g.fall * f.slope * g.felt;
            const V by_x_along = load(back + e * HR + v) * g.fall * f.slope +
                                 value * (drop * f.slope + g.fall * f.bend * change);
            for (float* table : {to.source + c.from[e] * HR + v, to.target + c.to[e] * HR + v})
                store(table, load(table) + by_x_along);
            const Shape& s = c.shapes[e / VL];
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
                by_basis[k] += lane(s.basis[k], e % VL) * by_x_along + lane(s.slope[k], e % VL) * by_x;
        }
        for (int k = 0; k < K; ++k)
            store(to.basis + k * HR + v, load(to.basis + k * HR + v) + by_basis[k]);
    }
    add_outer<CHUNK, HR, W>(activated, along, x.weights_back, weights_along, to.out);
}
