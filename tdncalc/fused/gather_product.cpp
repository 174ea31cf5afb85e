// Message passing as one trilinear operator with two derivatives, see operator.py for the equations.
#include <algorithm>
#include <vector>

#include "sizes.h"

#include "lanes.h"

#include "coupling.h"

#include "threads.h"

constexpr int L = degree_of(D_OUT - 1);
constexpr int CV = C / VL;
constexpr int W = (L + 1) * C;  // weights of an edge

static_assert(C % VL == 0, "channels must fill vectors");

// Edges of the atoms; features by atom (N, D_IN, C), what is gathered (N, D_OUT, C).
struct Operands {
    const float *s, *harmonics, *weights, *a;
    const int64_t *source, *target;
};

// VL edges: the couplings' matrices, entry n of edge e at n · VL + e.
struct Matrices {
    V t[N_COUPLINGS];
    const float* entries() const { return (const float*)t; }
};

static void read(const float* harmonics, int64_t n, int count, Matrices& m) {
    alignas(64) float columns[D_EDGE][VL] = {};
    for (int e = 0; e < count; ++e)
        for (int j = 0; j < D_EDGE; ++j) columns[j][e] = harmonics[(n + e) * D_EDGE + j];
    V y[D_EDGE];
    for (int j = 0; j < D_EDGE; ++j) y[j] = load(columns[j]);
    coupling_matrix(y, m.t);
}

// Writes what was summed by edge and component, one vector of channels each, as (E, D_EDGE).
static void write(V (*by_harmonics)[VL], int64_t n, int count, float* out) {
    for (int j = 0; j < D_EDGE; ++j) {
        for (int e = count; e < VL; ++e) by_harmonics[j][e] = V{};
        const V total = sums(by_harmonics[j]);
        for (int e = 0; e < count; ++e) out[(n + e) * D_EDGE + j] = total[e];
    }
}

template <int ROWS>
INLINE void take(const float* from, V* to) {
#pragma GCC unroll 32
    for (int d = 0; d < ROWS; ++d) to[d] = load(from + d * C);
}

template <int ROWS>
INLINE void add(float* to, const V* values) {
#pragma GCC unroll 32
    for (int d = 0; d < ROWS; ++d) store(to + d * C, load(to + d * C) + values[d]);
}

static void forward(const Operands& o, int64_t first, int64_t last, float* gathered) {
    Matrices m;
    for (int64_t n = first; n < last; n += VL) {
        const int count = int(std::min<int64_t>(VL, last - n));
        read(o.harmonics, n, count, m);
        for (int e = 0; e < count; ++e)
            for (int v = 0; v < CV; ++v) {
                V s[D_IN], u[D_OUT], w[L + 1];
                take<D_IN>(o.s + o.source[n + e] * D_IN * C + v * VL, s);
                take<L + 1>(o.weights + (n + e) * W + v * VL, w);
                couple(m.entries(), e, s, u);
#pragma GCC unroll 32
                for (int d = 0; d < D_OUT; ++d) u[d] *= w[degree_of(d)];
                add<D_OUT>(gathered + o.target[n + e] * D_OUT * C + v * VL, u);
            }
    }
}

struct Gradients {
    float *s, *harmonics, *weights, *a;
};

static void backward(const Operands& o, int64_t first, int64_t last, const Gradients& g) {
    Matrices m;
    for (int64_t n = first; n < last; n += VL) {
        const int count = int(std::min<int64_t>(VL, last - n));
        read(o.harmonics, n, count, m);
        V by_harmonics[D_EDGE][VL];
        for (int e = 0; e < count; ++e) {
            V y[D_EDGE] = {};
            for (int v = 0; v < CV; ++v) {
                V s[D_IN], u[D_OUT], a[D_OUT], w[L + 1], by_w[L + 1] = {}, by_s[D_IN];
                take<D_IN>(o.s + o.source[n + e] * D_IN * C + v * VL, s);
                take<D_OUT>(o.a + o.target[n + e] * D_OUT * C + v * VL, a);
                take<L + 1>(o.weights + (n + e) * W + v * VL, w);
                couple(m.entries(), e, s, u);
#pragma GCC unroll 32
                for (int d = 0; d < D_OUT; ++d) {
                    by_w[degree_of(d)] += u[d] * a[d];
                    a[d] *= w[degree_of(d)];
                }
#pragma GCC unroll 8
                for (int l = 0; l <= L; ++l) store(g.weights + (n + e) * W + l * C + v * VL, by_w[l]);
                couple_back(m.entries(), e, a, by_s);
                add<D_IN>(g.s + o.source[n + e] * D_IN * C + v * VL, by_s);
                couple_back_harmonics(a, s, y);
            }
            for (int j = 0; j < D_EDGE; ++j) by_harmonics[j][e] = y[j];
        }
        write(by_harmonics, n, count, g.harmonics);
    }
}

// h: cotangents of the gradients by s, Y and w.
static void double_backward(const Operands& o, const Operands& h, int64_t first, int64_t last,
                            const Gradients& g) {
    Matrices m, mh;
    for (int64_t n = first; n < last; n += VL) {
        const int count = int(std::min<int64_t>(VL, last - n));
        read(o.harmonics, n, count, m);
        read(h.harmonics, n, count, mh);
        V by_harmonics[D_EDGE][VL];
        for (int e = 0; e < count; ++e) {
            V y[D_EDGE] = {};
            for (int v = 0; v < CV; ++v) {
                V s[D_IN], sh[D_IN], u[D_OUT], uh[D_OUT], more[D_OUT], w[L + 1], wh[L + 1];
                take<D_IN>(o.s + o.source[n + e] * D_IN * C + v * VL, s);
                take<D_IN>(h.s + o.source[n + e] * D_IN * C + v * VL, sh);
                take<L + 1>(o.weights + (n + e) * W + v * VL, w);
                take<L + 1>(h.weights + (n + e) * W + v * VL, wh);
                couple(m.entries(), e, s, u);
                couple(m.entries(), e, sh, uh);
                couple(mh.entries(), e, s, more);
                V a[D_OUT], ah[D_OUT], by_w[L + 1] = {};
                take<D_OUT>(o.a + o.target[n + e] * D_OUT * C + v * VL, a);
#pragma GCC unroll 32
                for (int d = 0; d < D_OUT; ++d) {
                    uh[d] += more[d];
                    by_w[degree_of(d)] += uh[d] * a[d];
                    uh[d] = uh[d] * w[degree_of(d)] + u[d] * wh[degree_of(d)];
                    ah[d] = a[d] * wh[degree_of(d)];
                    a[d] *= w[degree_of(d)];
                }
                add<D_OUT>(g.a + o.target[n + e] * D_OUT * C + v * VL, uh);
#pragma GCC unroll 8
                for (int l = 0; l <= L; ++l) store(g.weights + (n + e) * W + l * C + v * VL, by_w[l]);
                V by_s[D_IN], rest[D_IN];
                couple_back(m.entries(), e, ah, by_s);
                couple_back(mh.entries(), e, a, rest);
#pragma GCC unroll 32
                for (int d = 0; d < D_IN; ++d) by_s[d] += rest[d];
                add<D_IN>(g.s + o.source[n + e] * D_IN * C + v * VL, by_s);
                couple_back_harmonics(a, sh, y);
                couple_back_harmonics(ah, s, y);
            }
            for (int j = 0; j < D_EDGE; ++j) by_harmonics[j][e] = y[j];
        }
        write(by_harmonics, n, count, g.harmonics);
    }
}

// ---------------------------------------------------------------- threads

// Parts of the edges that share no atom, each of `least` edges at least if it can be.
static std::vector<int64_t> parts(const Operands& o, int64_t n_edges, int64_t least) {
    std::vector<int64_t> smallest(n_edges + 1, INT64_MAX), starts{0};
    for (int64_t n = n_edges - 1; n >= 0; --n)
        smallest[n] = std::min({smallest[n + 1], o.source[n], o.target[n]});
    int64_t largest = -1;
    for (int64_t n = 0; n < n_edges; ++n) {
        if (smallest[n] > largest && n - starts.back() >= least) starts.push_back(n);
        largest = std::max({largest, o.source[n], o.target[n]});
    }
    starts.push_back(n_edges);
    return starts;
}

template <class Job>
static void run(const Operands& o, int64_t n_edges, int threads, const Job& job) {
    static Pool pool;
    if (threads <= 1) return job(0, n_edges);
    const std::vector<int64_t> starts = parts(o, n_edges, n_edges / (4 * threads));
    pool.run(int(starts.size()) - 1, threads, [&](int p, int) { job(starts[p], starts[p + 1]); });
}

// What is summed by atom has to be zero before.
extern "C" {

void tdn_forward(int64_t n_edges, int threads, const Operands* o, float* gathered) {
    run(*o, n_edges, threads, [=](int64_t a, int64_t b) { forward(*o, a, b, gathered); });
}

void tdn_backward(int64_t n_edges, int threads, const Operands* o, const Gradients* g) {
    run(*o, n_edges, threads, [=](int64_t a, int64_t b) { backward(*o, a, b, *g); });
}

void tdn_double_backward(int64_t n_edges, int threads, const Operands* o, const Operands* h,
                         const Gradients* g) {
    run(*o, n_edges, threads, [=](int64_t a, int64_t b) { double_backward(*o, *h, a, b, *g); });
}
}
