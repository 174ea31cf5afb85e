// Messages of a chunk of edges in training, and their derivatives.
#pragma once

#include "training_edges.h"

// What edges fetch and where they add, by atom of the group: (atoms, D, CE), the first layer's
// source a table by element, (N_ELEMENTS, CE).
struct Ends {
    const float *sent, *sent_along;
    float *sent_back, *sent_back_along;
    float *gathered, *gathered_along;
    const float *gathered_back, *gathered_back_along;
};

template <int ROWS>
INLINE void take(const float* from, V* to) {
#pragma GCC unroll 32
    for (int d = 0; d < ROWS; ++d) to[d] = load(from + d * CE);
}

template <int ROWS>
INLINE void add(float* to, const V* values) {
#pragma GCC unroll 32
    for (int d = 0; d < ROWS; ++d) store(to + d * CE, load(to + d * CE) + values[d]);
}

template <bool FIRST>
static void gather_values(const Chunk& c, const float* weights, const Ends& o) {
    for (int e = 0; e < c.count; e += VL) {
        const Shape& s = c.shapes[e / VL];
        V t[FIRST ? 1 : N_COUPLINGS];
        if constexpr (!FIRST) coupling_matrix(s.y, t);
        for (int n = 0; n < std::min(VL, c.count - e); ++n)
            for (int v = 0; v < CE; v += VL) {
                V x[D], u[D], w[L + 1];
                take<L + 1>(weights + (e + n) * W + v, w);
                if constexpr (FIRST) {
                    x[0] = load(o.sent + c.from[e + n] * CE + v);
                    for (int d = 0; d < D; ++d) u[d] = lane(s.y[d], n) * x[0];
                } else {
                    take<D>(o.sent + size_t(c.source[e + n]) * D * CE + v, x);
                    couple((const float*)t, n, x, u);
                }
#pragma GCC unroll 32
                for (int d = 0; d < D; ++d) u[d] *= w[degree_of(d)];
                add<D>(o.gathered + size_t(c.target[e + n]) * D * CE + v, u);
            }
    }
}

// Derivatives by weights, harmonics and, but for the first layer, by what was sent.
template <bool FIRST>
static void gather_values_back(Chunk& c, Radials& r, const Ends& o) {
    for (int e = 0; e < c.count; e += VL) {
        Shape& s = c.shapes[e / VL];
        V t[FIRST ? 1 : N_COUPLINGS], by_y[D][VL] = {};
        if constexpr (!FIRST) coupling_matrix(s.y, t);
        for (int n = 0; n < std::min(VL, c.count - e); ++n) {
            V y[D] = {};
            for (int v = 0; v < CE; v += VL) {
                V x[D], u[D], a[D], w[L + 1], by_w[L + 1] = {};
                take<L + 1>(r.weights + (e + n) * W + v, w);
                take<D>(o.gathered_back + size_t(c.target[e + n]) * D * CE + v, a);
                if constexpr (FIRST) {
                    x[0] = load(o.sent + c.from[e + n] * CE + v);
                    for (int d = 0; d < D; ++d) u[d] = lane(s.y[d], n) * x[0];
                } else {
                    take<D>(o.sent + size_t(c.source[e + n]) * D * CE + v, x);
                    couple((const float*)t, n, x, u);
                }
#pragma GCC unroll 32
                for (int d = 0; d < D; ++d) {
                    by_w[degree_of(d)] += u[d] * a[d];
                    a[d] *= w[degree_of(d)];
                }
#pragma GCC unroll 8
                for (int l = 0; l <= L; ++l) store(r.weights_back + (e + n) * W + l * CE + v, by_w[l]);
                if constexpr (FIRST) {
                    for (int d = 0; d < D; ++d) y[d] += a[d] * x[0];
                } else {
                    couple_back((const float*)t, n, a, u);
                    add<D>(o.sent_back + size_t(c.source[e + n]) * D * CE + v, u);
                    couple_back_harmonics(a, x, y);
                }
            }
            for (int d = 0; d < D; ++d) by_y[d][n] = y[d];
        }
        for (int d = 0; d < D; ++d) s.y_back[d] += sums(by_y[d]);
    }
}

// Messages without weights, and their change along the direction.
template <bool FIRST>
INLINE void coupled(const Chunk& c, const V* t, const V* t_along, int edge, int v, const Ends& o,
                    V* x, V* u, V* u_along) {
    const Shape& s = c.shapes[edge / VL];
    const int n = edge % VL;
    if constexpr (FIRST) {
        x[0] = load(o.sent + c.from[edge] * CE + v);
        for (int d = 0; d < D; ++d) {
            u[d] = lane(s.y[d], n) * x[0];
            u_along[d] = lane(s.y_along[d], n) * x[0];
        }
    } else {
        V more[D];
        take<D>(o.sent_along + size_t(c.source[edge]) * D * CE + v, x);
        couple((const float*)t, n, x, u_along);
        take<D>(o.sent + size_t(c.source[edge]) * D * CE + v, x);
        couple((const float*)t, n, x, u);
        couple((const float*)t_along, n, x, more);
#pragma GCC unroll 32
        for (int d = 0; d < D; ++d) u_along[d] += more[d];
    }
}

template <bool FIRST>
static void gather_tangents(const Chunk& c, const float* weights, const float* weights_along,
                            const Ends& o) {
    for (int e = 0; e < c.count; e += VL) {
        const Shape& s = c.shapes[e / VL];
        V t[FIRST ? 1 : N_COUPLINGS], t_along[FIRST ? 1 : N_COUPLINGS];
        if constexpr (!FIRST) {
            coupling_matrix(s.y, t);
            coupling_matrix(s.y_along, t_along);
        }
        for (int n = e; n < std::min(e + VL, c.count); ++n)
            for (int v = 0; v < CE; v += VL) {
                V x[D], u[D], u_along[D], w[L + 1], w_along[L + 1];
                take<L + 1>(weights + n * W + v, w);
                take<L + 1>(weights_along + n * W + v, w_along);
                coupled<FIRST>(c, t, t_along, n, v, o, x, u, u_along);
#pragma GCC unroll 32
                for (int d = 0; d < D; ++d)
                    u[d] = u_along[d] * w[degree_of(d)] + u[d] * w_along[degree_of(d)];
                add<D>(o.gathered_along + size_t(c.target[n]) * D * CE + v, u);
            }
    }
}

// Changes of the derivatives by the weights, in place of the weights' change, and by what was sent.
template <bool FIRST>
static void gather_tangents_back(const Chunk& c, const float* weights, float* weights_along,
                                 const Ends& o) {
    for (int e = 0; e < c.count; e += VL) {
        const Shape& s = c.shapes[e / VL];
        V t[FIRST ? 1 : N_COUPLINGS], t_along[FIRST ? 1 : N_COUPLINGS];
        if constexpr (!FIRST) {
            coupling_matrix(s.y, t);
            coupling_matrix(s.y_along, t_along);
        }
        for (int n = e; n < std::min(e + VL, c.count); ++n)
            for (int v = 0; v < CE; v += VL) {
                V x[D], u[D], u_along[D], w[L + 1], w_along[L + 1], a[D], a_along[D], by_w[L + 1] = {};
                take<L + 1>(weights + n * W + v, w);
                take<L + 1>(weights_along + n * W + v, w_along);
                take<D>(o.gathered_back + size_t(c.target[n]) * D * CE + v, a);
                take<D>(o.gathered_back_along + size_t(c.target[n]) * D * CE + v, a_along);
                coupled<FIRST>(c, t, t_along, n, v, o, x, u, u_along);
#pragma GCC unroll 32
                for (int d = 0; d < D; ++d) {
                    by_w[degree_of(d)] += u_along[d] * a[d] + u[d] * a_along[d];
                    a_along[d] = a[d] * w_along[degree_of(d)] + a_along[d] * w[degree_of(d)];
                    a[d] *= w[degree_of(d)];
                }
#pragma GCC unroll 8
                for (int l = 0; l <= L; ++l) store(weights_along + n * W + l * CE + v, by_w[l]);
                if constexpr (FIRST) {
                    V total = V{};
                    for (int d = 0; d < D; ++d)
                        total += lane(s.y[d], n - e) * a_along[d] + lane(s.y_along[d], n - e) * a[d];
                    float* to = o.sent_back_along + c.from[n] * CE + v;
                    store(to, load(to) + total);
                } else {
                    couple_back((const float*)t, n - e, a_along, u);
                    couple_back((const float*)t_along, n - e, a, u_along);
#pragma GCC unroll 32
                    for (int d = 0; d < D; ++d) u[d] += u_along[d];
                    add<D>(o.sent_back_along + size_t(c.source[n]) * D * CE + v, u);
                }
            }
    }
}
