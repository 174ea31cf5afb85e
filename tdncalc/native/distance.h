// How far atoms lie from those that the network was trained on.
#pragma once

#include "model.h"

// Dimensions that the scalars are projected to, as the caller's tables have them.
constexpr int RANK = 32, RV = RANK / VL;

// Table of an element: a matrix (N_LAYERS · C, RANK), offsets (RANK), and what is added to the square.
constexpr size_t DISTANCE = (size_t(N_LAYERS) * C + 1) * RANK + 1;

// Add a layer's scalars (C) times a matrix (C, RANK) to out (RANK).
INLINE void project(const float* scalars, const float* matrix, float* out) {
    V sum[4][RV] = {};  // independent sums: one would wait for itself
    for (int c = 0; c < C; c += 4)
        for (int k = 0; k < 4; ++k)
            for (int v = 0; v < RV; ++v)
                sum[k][v] += scalars[c + k] * load(matrix + (c + k) * RANK + v * VL);
    for (int v = 0; v < RV; ++v)
        store(out + v * VL, load(out + v * VL) + ((sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v])));
}

// Take up the scalars (C) of layer T of an atom; the last layer gives its distance.
template <int T>
INLINE void add_distance(const float* table, const float* scalars, float* projected, double& distance) {
    const float* offsets = table + size_t(N_LAYERS) * C * RANK;
    if constexpr (T == 0)
        for (int r = 0; r < RANK; ++r) projected[r] = -offsets[r];
    project(scalars, table + size_t(T) * C * RANK, projected);
    if constexpr (T == N_LAYERS - 1) {
        V squares = V{};
        for (int v = 0; v < RANK; v += VL) squares += load(projected + v) * load(projected + v);
        distance = std::sqrt(double(sum(squares)) + double(offsets[RANK]));
    }
}
