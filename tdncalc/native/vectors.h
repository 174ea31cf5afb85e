// The network's sizes, products of its matrices, and memory.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "sizes.h"

#include "lanes.h"

#include "network.h"

constexpr int D = (L + 1) * (L + 1);
constexpr int W = (L + 1) * CE;           // radial weights of an edge
constexpr int CV = C / VL, EV = CE / VL;  // vectors of channels
constexpr int H = 2 * C;                  // hidden width of the update
constexpr int BLOCK = 12;
constexpr int ORDER = 6;  // coefficients of the radial polynomials

static_assert(C % VL == 0 && CE % VL == 0, "channels must fill vectors");

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

// Grows, never shrinks while in use; contents are lost when it grows. Without CLEARED what is never
// written takes no memory.
template <class T, bool CLEARED = true>
struct Buffer {
    std::unique_ptr<T[], Free> data;
    size_t size = 0;
    void need(size_t n) {
        if (n <= size && n * 4 + 65536 > size) return;
        data.reset();
        size = 0;  // also if there is no memory: the next call asks for less
        const size_t bytes = (n * sizeof(T) + 127) / 64 * 64;
        data.reset((T*)std::aligned_alloc(64, bytes));
        if (!data) throw std::bad_alloc();
        size = n;
        if (CLEARED) std::memset((void*)data.get(), 0, bytes);
    }
    T* operator+(size_t n) { return data.get() + n; }
    T& operator[](size_t n) { return data[n]; }
};
