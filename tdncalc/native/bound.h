// Bounds of what atoms gather and of their energies, as in tdncalc/nn/bound.py.
#pragma once

#include "model.h"

// What bounds the norm of a block's mixed messages A: they are multiplied by a
// factor f, whose derivative by them is turn · f · A.
struct Bound {
    float factor[BLOCK], turn[BLOCK];
    bool acts = false;
};

INLINE float dot(const float* x, const float* y, int slot) {
    V total = V{};
    for (int d = 0; d < D; ++d)
        for (int v = 0; v < C; v += VL) {
            const int place = (d * BLOCK + slot) * C + v;
            total += load(x + place) * load(y + place);
        }
    return sum(total);
}

// Bounds the mixed messages (D, BLOCK, C), in place.
static Bound bound_norms(const Layer& layer, const int32_t* elements, int count, float* mixed) {
    Bound bound;
    for (int slot = 0; slot < BLOCK; ++slot) {
        bound.factor[slot] = 1;
        bound.turn[slot] = 0;
        if (slot >= count) continue;
        const float largest = layer.largest[elements[slot]];
        const float norm = std::sqrt(dot(mixed, mixed, slot)), q = norm / largest;
        if (!(q > 1)) continue;
        const float s = std::max(2 - q, 0.0f), s3 = s * s * s;
        const float h = 1.5f - s3 * s * (2.5f + s * (s - 3)), slope = s3 * (10 + s * (6 * s - 15));
        bound.factor[slot] = h / q;
        bound.turn[slot] = (slope / h - 1 / q) / (largest * norm);
        bound.acts = true;
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < C; v += VL) {
                float* x = mixed + (d * BLOCK + slot) * C + v;
                store(x, load(x) * bound.factor[slot]);
            }
    }
    return bound;
}

// From the derivative by the bounded messages, which are given, to that by what they were; in place.
static void bound_norms_back(const Bound& bound, const float* bounded, float* back) {
    for (int slot = 0; slot < BLOCK && bound.acts; ++slot) {
        if (bound.turn[slot] == 0) continue;
        const float factor = bound.factor[slot];
        const float along = bound.turn[slot] * dot(bounded, back, slot) / factor;
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < C; v += VL) {
                const int place = (d * BLOCK + slot) * C + v;
                store(back + place, factor * load(back + place) + along * load(bounded + place));
            }
    }
}

// An energy that is not far below the lowest of the element, and its slope.
static double bounded_below(const Model& m, double energy, int element, float& slope) {
    const double lowest = m.lowest[element], below = (lowest - energy) / m.floor_depth;
    slope = 1;
    if (!(below > 0)) return energy;
    const double s = 1 - std::min(below, 1.0), s3 = s * s * s;
    slope = float(s3 * (10 + s * (6 * s - 15)));
    return lowest - m.floor_depth * (0.5 - s3 * s * (2.5 + s * (s - 3)));
}
