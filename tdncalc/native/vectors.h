// Vectors of floats and what is done with them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "sizes.h"

#if defined(__AVX512F__) && TDN_CHANNELS % 16 == 0
#define VL 16
#elif defined(__AVX__) && TDN_CHANNELS % 8 == 0
#define VL 8
#else
#define VL 4
#endif

typedef float V __attribute__((vector_size(4 * VL)));
typedef float Unaligned __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(4 * VL)));

#define INLINE static inline __attribute__((always_inline))

INLINE V load(const float* p) { return *(const Unaligned*)p; }
INLINE void store(float* p, V v) { *(Unaligned*)p = v; }
INLINE V fill(float x) { return x - V{}; }
INLINE V select(I mask, V a, V b) { return (V)((mask & (I)a) | (~mask & (I)b)); }

#include "network.h"

constexpr int D = (L + 1) * (L + 1);
constexpr int W = (L + 1) * CE;           // radial weights of an edge
constexpr int CV = C / VL, EV = CE / VL;  // vectors of channels
constexpr int H = 2 * C;                  // hidden width of the update
constexpr int BLOCK = 12;
constexpr int ORDER = 6;  // coefficients of the radial polynomials

static_assert(C % VL == 0 && CE % VL == 0, "channels must fill vectors");

constexpr int degree_of(int d) { return d >= 16 ? 4 : d >= 9 ? 3 : d >= 4 ? 2 : d >= 1 ? 1 : 0; }

INLINE V exponential(V x) {
    x = select(x > 80.0f, fill(80.0f), select(x < -80.0f, fill(-80.0f), x));
    V n = x * 1.44269504f + 12582912.0f;  // rounds to an integer
    I exponent = (I)n;
    n -= 12582912.0f;
    V f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    V p = 1.9875691500e-4f * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    return (V)((I)p + (exponent << 23));
}

INLINE V clamp(V x, float low, float high) {
    x = select(x < low, fill(low), x);
    return select(x > high, fill(high), x);
}

INLINE V sigmoid(V x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE float sum(V v) {
    float total = 0;
    for (int n = 0; n < VL; ++n) total += v[n];
    return total;
}

// Lanes with the bit HALF come from b, the rest from a; each is summed with its lane across that bit.
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
template <int HALF, size_t... N>
INLINE V fold(V a, V b, std::index_sequence<N...>) {
    return __builtin_shufflevector(a, b, (N & HALF ? N + VL : N)...) +
           __builtin_shufflevector(a, b, (N & HALF ? (N ^ HALF) + VL : N ^ HALF)...);
}
#else
template <int HALF, size_t... N>
INLINE V fold(V a, V b, std::index_sequence<N...>) {
    return __builtin_shuffle(a, b, I{(N & HALF ? N + VL : N)...}) +
           __builtin_shuffle(a, b, I{(N & HALF ? (N ^ HALF) + VL : N ^ HALF)...});
}
#endif

// Lane n of the result is the sum of the n-th of the vectors.
template <int HALF = VL / 2>
INLINE V sums(V* v) {
#pragma GCC unroll 8
    for (int n = 0; n < HALF; ++n)
        v[n] = fold<HALF>(v[n], v[n + HALF], std::make_index_sequence<VL>());
    if constexpr (HALF > 1) return sums<HALF / 2>(v);
    return v[0];
}

INLINE V square_root(V x) {
    V y;
    for (int n = 0; n < VL; ++n) y[n] = std::sqrt(x[n]);
    return y;
}

// y (ROWS, N) = x (ROWS, K) w (K, N), or added to y. Rows are contiguous.
template <int ROWS, int K, int N, bool ADD>
INLINE void multiply(const float* __restrict x, const float* __restrict w, float* __restrict y) {
    constexpr int NV = N / VL;
    constexpr int WIDE = NV % 4 == 0 && VL == 16 ? 4 : NV % 3 == 0 && VL == 16 ? 3 : NV % 2 == 0 ? 2 : 1;
    constexpr int TALL = 6;
    static_assert(ROWS % TALL == 0 && N % VL == 0, "");
    for (int r = 0; r < ROWS; r += TALL)
        for (int v = 0; v < NV; v += WIDE) {
            V total[TALL][WIDE];
#pragma GCC unroll 6
            for (int a = 0; a < TALL; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < WIDE; ++b)
                    total[a][b] = ADD ? load(y + (r + a) * N + (v + b) * VL) : V{};
            for (int k = 0; k < K; ++k) {
                V row[WIDE];
#pragma GCC unroll 4
                for (int b = 0; b < WIDE; ++b) row[b] = load(w + k * N + (v + b) * VL);
#pragma GCC unroll 6
                for (int a = 0; a < TALL; ++a) {
                    const V factor = fill(x[(r + a) * K + k]);
#pragma GCC unroll 4
                    for (int b = 0; b < WIDE; ++b) total[a][b] += factor * row[b];
                }
            }
#pragma GCC unroll 6
            for (int a = 0; a < TALL; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < WIDE; ++b) store(y + (r + a) * N + (v + b) * VL, total[a][b]);
        }
}

// One matrix (K, N) per degree on features (D, BLOCK, K) -> (D, BLOCK, N).
template <int LMAX, int K, int N, bool ADD = false>
INLINE void mix(const float* x, const float* w, float* y) {
    multiply<BLOCK, K, N, ADD>(x, w, y);
    if constexpr (LMAX >= 1) multiply<3 * BLOCK, K, N, ADD>(x + BLOCK * K, w + K * N, y + BLOCK * N);
    if constexpr (LMAX >= 2)
        multiply<5 * BLOCK, K, N, ADD>(x + 4 * BLOCK * K, w + 2 * K * N, y + 4 * BLOCK * N);
    if constexpr (LMAX >= 3)
        multiply<7 * BLOCK, K, N, ADD>(x + 9 * BLOCK * K, w + 3 * K * N, y + 9 * BLOCK * N);
    if constexpr (LMAX >= 4)
        multiply<9 * BLOCK, K, N, ADD>(x + 16 * BLOCK * K, w + 4 * K * N, y + 16 * BLOCK * N);
}

struct Free {
    void operator()(void* p) const { std::free(p); }
};

// Grows, never shrinks while in use; contents are lost when it grows.
template <class T>
struct Buffer {
    std::unique_ptr<T[], Free> data;
    size_t size = 0;
    void need(size_t n) {
        if (n <= size && n * 4 + 65536 > size) return;
        data.reset();
        size = n;
        const size_t bytes = (n * sizeof(T) + 127) / 64 * 64;
        data.reset((T*)std::aligned_alloc(64, bytes));
        if (!data) throw std::bad_alloc();
        std::memset((void*)data.get(), 0, bytes);
    }
    T* operator+(size_t n) { return data.get() + n; }
    T& operator[](size_t n) { return data[n]; }
};
