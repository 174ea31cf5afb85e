// Orthogonalization of matrices by Newton-Schulz iterations.
#include <algorithm>
#include <vector>

#define TDN_CHANNELS 16
#include "lanes.h"

constexpr int TALL = VL == 16 ? 8 : 4, WIDE = VL == 16 ? 3 : 2;

static int padded(int n) { return (n + 15) / 16 * 16; }

template <int VECTORS>
INLINE void tile(const float* a, int depth, const float* b, int width, V (*total)[WIDE]) {
    for (int k = 0; k < depth; ++k) {
        V row[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) row[v] = load(b + k * width + v * VL);
#pragma GCC unroll 8
        for (int r = 0; r < TALL; ++r) {
            const V factor = fill(a[r * depth + k]);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) total[r][v] += factor * row[v];
        }
    }
}

// result = scale · a b + more · plus, for a (height, depth), b (depth, width) and plus like the result.
// What is symmetric is computed on and above the diagonal, and copied below.
template <bool SYMMETRIC>
static void product(int height, int depth, int width, const float* a, const float* b, float scale,
                    const float* plus, float more, float* result) {
    for (int c = 0; c < width; c += WIDE * VL)
        for (int r = 0; r < (SYMMETRIC ? std::min(height, c + WIDE * VL) : height); r += TALL) {
            const int vectors = std::min(WIDE, (width - c) / VL);
            V total[TALL][WIDE] = {};
            switch (vectors) {
                case 1: tile<1>(a + r * depth, depth, b + c, width, total); break;
                case 2: tile<2>(a + r * depth, depth, b + c, width, total); break;
                default: tile<WIDE>(a + r * depth, depth, b + c, width, total);
            }
            for (int n = 0; n < TALL; ++n)
                for (int v = 0; v < vectors; ++v) {
                    const int at = (r + n) * width + c + v * VL;
                    store(result + at, scale * total[n][v] + more * load(plus + at));
                }
        }
    for (int r = 0; SYMMETRIC && r < height; ++r)
        for (int c = 0; c < r; ++c) result[r * width + c] = result[c * width + r];
}

static void transpose(int rows, int columns, const float* x, float* y) {
    for (int r = 0; r < rows; r += 16)
        for (int c = 0; c < columns; c += 16)
            for (int i = 0; i < 16; ++i)
                for (int j = 0; j < 16; ++j)
                    y[(c + j) * rows + r + i] = x[(r + i) * columns + c + j];
}

extern "C" {

// Take each of the matrices (count, rows, columns), rows <= columns and already of norm 1 or less,
// through x ← a x + (b x xᵀ + c (x xᵀ)²) x as many times as asked for.
void tdn_orthogonalize(int count, int rows, int columns, int iterations, float a, float b, float c,
                       float* matrices) {
    const int m = padded(rows), n = padded(columns);
    std::vector<float> x(m * n), y(m * n), across(m * n), gram(m * m), sum(m * m);
    for (int one = 0; one < count; ++one, matrices += rows * columns) {
        std::fill(x.begin(), x.end(), 0.0f);
        for (int r = 0; r < rows; ++r)
            std::copy_n(matrices + r * columns, columns, x.begin() + r * n);
        for (int step = 0; step < iterations; ++step) {
            transpose(m, n, x.data(), across.data());
            product<true>(m, n, m, x.data(), across.data(), 1.0f, gram.data(), 0.0f, gram.data());
            product<true>(m, m, m, gram.data(), gram.data(), c, gram.data(), b, sum.data());
            product<false>(m, m, n, sum.data(), x.data(), 1.0f, x.data(), a, y.data());
            std::swap(x, y);
        }
        for (int r = 0; r < rows; ++r)
            std::copy_n(x.begin() + r * n, columns, matrices + r * columns);
    }
}
}
