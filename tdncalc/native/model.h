// The network's constants.
#pragma once

#include <vector>

#include "threads.h"
#include "vectors.h"

// One layer, as pointers into the packed weights. "back" is a transposed matrix.
template <class P>
struct LayerOf {
    P down, down_back, up, up_back, powers, linear, linear_back, residual;
    P inner, inner_back, outer, outer_back;  // outer: scalars and gates side by side
    P read_linear, read_inner, read_inner_back, read_outer;
};

struct Layer : LayerOf<const float*> {
    const float* radial[N_ELEMENTS * N_ELEMENTS];  // by source · N_ELEMENTS + target
    float largest[N_ELEMENTS];  // norms of gathered features in the training set
};

// Of a pair of elements: the screened Coulomb term, and distances in Å.
struct Pair {
    float coulomb, inverse_length, reach, seen;
};

struct Model {
    Layer layers[N_LAYERS];
    Pair pairs[N_ELEMENTS * N_ELEMENTS];
    float lowest[N_ELEMENTS];  // energies of atoms in the training set, eV
    std::vector<float> packed;
    float floor_depth, saturation, wall, screening[8];
    double cutoff;
    float origin, step;  // of the radial tables, in √Å
    int n_intervals;
    Pool pool;
};

// Degrees of the last layer's features are scalars only.
constexpr int out_degree(int layer) { return layer == N_LAYERS - 1 ? 0 : L; }

// Point the layers into the packed weights; returns how many there must be.
template <class P, class AnyLayer>
static size_t bind(AnyLayer* layers, P base) {
    P at = base;
    auto next = [&](size_t n) {
        P start = at;
        at += n;
        return start;
    };
    for (int t = 0; t < N_LAYERS; ++t) {
        AnyLayer& layer = layers[t];
        const int degrees = out_degree(t) + 1;
        layer.down = next(t ? (L + 1) * C * CE : 0);
        layer.down_back = next(t ? (L + 1) * C * CE : 0);
        layer.up = next((L + 1) * CE * C);
        layer.up_back = next((L + 1) * CE * C);
        layer.powers = next(CORRELATION * N_ELEMENTS * degrees * C);
        layer.linear = next(degrees * C * C);
        layer.linear_back = next(degrees * C * C);
        layer.residual = next(t ? N_ELEMENTS * degrees * C : 0);
        layer.inner = next(C * H);
        layer.inner_back = next(C * H);
        layer.outer = next(H * degrees * C);
        layer.outer_back = next(H * degrees * C);
        layer.read_linear = next(C);
        layer.read_inner = next(C * C);
        layer.read_inner_back = next(C * C);
        layer.read_outer = next(C);
    }
    return at - base;
}
