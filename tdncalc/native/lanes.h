// Vectors of floats and what is done with them, as long as TDN_CHANNELS lets them be.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

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

#define INLINE_METHOD inline __attribute__((always_inline))
#define INLINE static INLINE_METHOD

INLINE V load(const float* p) { return *(const Unaligned*)p; }
INLINE void store(float* p, V v) { *(Unaligned*)p = v; }
INLINE V fill(float x) { return x - V{}; }
INLINE V select(I mask, V a, V b) { return (V)((mask & (I)a) | (~mask & (I)b)); }

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
