// The default network in training. One call computes energies and their derivatives by the edge
// vectors; a second one, given the derivatives of a loss by both, those by all weights.
//
// The loss's derivative by the weights is that of Σ h · g + Σ e E, with g the energy's derivatives by
// the vectors: the change of the energy's derivative by the weights as the vectors change along h, and
// the seed of the reverse pass from 1 along e. So the second call follows the tangents of all that the
// first one computed, forwards and back, and never computes a value twice.
#include <array>

#include "training_messages.h"

constexpr int LEAST = 24;  // atoms of a group, if there are as many: few stay in the cache

// Atoms and edges of the batch.
struct Batch {
    int n_atoms;
    int64_t n_edges;
    const int64_t *elements, *source, *target;
    const float* vectors;
};

struct Weights {
    Model m;
    Radial radial[N_LAYERS];
    const float* first;  // what the first layer's edges fetch, by element, (N_ELEMENTS, CE)
};

struct GradientOf {
    Gradient layers[N_LAYERS];
    RadialOf<float*> radial[N_LAYERS];
    float* first;
};

// All that the kernel knows of one pass.
struct Half {
    Buffer<Features> features[N_LAYERS];
    Buffer<Slopes> slopes[N_LAYERS];
    Buffer<float> sent[N_LAYERS], sent_back[N_LAYERS], gathered_back[N_LAYERS];
    Buffer<float> gathered;  // of one layer at a time

    void need(int atoms) {
        const size_t blocks = (atoms + BLOCK - 1) / BLOCK, rows = blocks * BLOCK * D * CE;
        for (int t = 0; t < N_LAYERS; ++t) {
            features[t].need(blocks);
            slopes[t].need(blocks);
            sent[t].need(rows);
            sent_back[t].need(rows);
            gathered_back[t].need(rows);
        }
        gathered.need(rows);
    }
};

// Atoms that share no edge with others, as those of some structures.
struct Group {
    int start, n_atoms;
    int64_t first, n_edges;
    Half values;
    Buffer<Chunk> chunks;
    Buffer<Radials> radials[N_LAYERS];
    std::vector<int32_t> elements;

    int blocks() const { return (n_atoms + BLOCK - 1) / BLOCK; }
    int n_chunks() const { return int((n_edges + CHUNK - 1) / CHUNK); }
};

// Memory of one thread.
struct Work {
    Half along;
    Buffer<float> weights[N_LAYERS];  // change of the radial weights
    alignas(64) float activated[3 * CHUNK * HR];
    alignas(64) float block[D * BLOCK * CE];
    std::vector<float> seed, gradient;
};

struct Training {
    Weights weights;
    std::vector<std::unique_ptr<Group>> groups;
    std::vector<std::unique_ptr<Work>> works;
    size_t n_groups = 0;
};

// ---------------------------------------------------------------- packed weights

template <class P, class Layers, class Radials>
static size_t bind_all(P base, Layers* layers, Radials* radial, P& first) {
    P at = base + bind<P>(layers, base);
    auto next = [&](size_t n) {
        P start = at;
        at += n;
        return start;
    };
    for (int t = 0; t < N_LAYERS; ++t) {
        radial[t].basis = next(K * HR);
        radial[t].source = next(N_ELEMENTS * HR);
        radial[t].target = next(N_ELEMENTS * HR);
        radial[t].out = next(HR * W);
        radial[t].out_back = next(HR * W);
    }
    first = next(N_ELEMENTS * CE);
    return at - base;
}

// ---------------------------------------------------------------- groups

// Cut the batch where no edge crosses; edges have to come in the order of their structures.
static std::vector<std::array<int64_t, 2>> cuts(const Batch& b) {
    std::vector<int64_t> smallest(b.n_edges + 1, b.n_atoms);
    for (int64_t n = b.n_edges - 1; n >= 0; --n)
        smallest[n] = std::min({smallest[n + 1], b.source[n], b.target[n]});
    std::vector<std::array<int64_t, 2>> found{{0, 0}};
    int64_t largest = -1;
    for (int64_t n = 0; n < b.n_edges; ++n) {
        if (smallest[n] > largest && smallest[n] - found.back()[0] >= LEAST)
            found.push_back({smallest[n], n});
        largest = std::max({largest, b.source[n], b.target[n]});
    }
    found.push_back({b.n_atoms, b.n_edges});
    return found;
}

static void fill_group(const Model& m, const Batch& b, Group& g, double* energies) {
    g.values.need(g.n_atoms);
    g.chunks.need(g.n_chunks());
    for (auto& radials : g.radials) radials.need(g.n_chunks());
    g.elements.assign(b.elements + g.start, b.elements + g.start + g.n_atoms);
    for (int k = 0; k < g.n_chunks(); ++k) {
        Chunk& c = g.chunks[k];
        c.first = g.first + int64_t(k) * CHUNK;
        c.count = int(std::min<int64_t>(CHUNK, g.first + g.n_edges - c.first));
        for (int e = 0; e < c.count; ++e) {
            c.source[e] = int32_t(b.source[c.first + e] - g.start);
            c.target[e] = int32_t(b.target[c.first + e] - g.start);
            c.from[e] = g.elements[c.source[e]];
            c.to[e] = g.elements[c.target[e]];
        }
        for (int e = 0; e < c.count; e += VL) {
            float repulsions[VL];
            const int count = std::min(VL, c.count - e);
            shape(m, b.vectors + 3 * (c.first + e), c.from + e, c.to + e, count, c.shapes[e / VL],
                  repulsions);
            for (int n = 0; n < count; ++n) energies[g.start + c.target[e + n]] += repulsions[n];
        }
    }
}

// Between arrays by atom, (atoms, D, CE), and those of a block, (D, BLOCK, CE).
static void collect(const float* by_atom, int count, float* block) {
    std::memset(block, 0, sizeof(float) * D * BLOCK * CE);
    for (int slot = 0; slot < count; ++slot)
        for (int d = 0; d < D; ++d)
            std::memcpy(block + (d * BLOCK + slot) * CE, by_atom + (slot * D + d) * CE,
                        CE * sizeof(float));
}

static void scatter(const float* block, int count, float* by_atom) {
    for (int slot = 0; slot < count; ++slot)
        for (int d = 0; d < D; ++d)
            std::memcpy(by_atom + (slot * D + d) * CE, block + (d * BLOCK + slot) * CE,
                        CE * sizeof(float));
}

template <Pass P>
static Block block_of(Group& g, Half& along, const float* seed, int t, int n) {
    Block b = {};
    b.elements = g.elements.data() + n * BLOCK;
    b.count = std::min(BLOCK, g.n_atoms - n * BLOCK);
    b.x = g.values.features[t] + n;
    b.back = g.values.slopes[t] + n;
    if (t > 0) b.before = g.values.features[t - 1] + n;
    if (P == VALUES) return b;
    b.x_along = along.features[t] + n;
    b.back_along = along.slopes[t] + n;
    if (t > 0) b.before_along = along.features[t - 1] + n;
    b.seed = seed + n * BLOCK;
    return b;
}

static Ends ends_of(const Weights& w, Group& g, Half& along, int t) {
    Half& v = g.values;
    return {t ? v.sent[t] + 0 : w.first, along.sent[t] + 0,
            v.sent_back[t] + 0, along.sent_back[t] + 0,
            v.gathered + 0, along.gathered + 0,
            v.gathered_back[t] + 0, along.gathered_back[t] + 0};
}

static void clear(Buffer<float>& by_atom, int atoms) {
    std::memset(by_atom + 0, 0, sizeof(float) * atoms * D * CE);
}

// ---------------------------------------------------------------- passes over a group

template <int T, Pass P>
static void forward_layer(const Weights& w, Group& g, Work& work) {
    Half& mine = P == VALUES ? g.values : work.along;
    const Ends ends = ends_of(w, g, work.along, T);
    clear(mine.gathered, g.n_atoms);
    for (int k = 0; k < g.n_chunks(); ++k) {
        Chunk& c = g.chunks[k];
        Radials& r = g.radials[T][k];
        if constexpr (P == VALUES) {
            radial_forward<P>(w.radial[T], c, work.activated, r.weights);
            gather_values<T == 0>(c, r.weights, ends);
        } else {
            float* weights = work.weights[T] + size_t(k) * CHUNK * W;
            radial_forward<P>(w.radial[T], c, work.activated, weights);
            gather_tangents<T == 0>(c, r.weights, weights, ends);
        }
    }
    for (int n = 0; n < g.blocks(); ++n) {
        const Block b = block_of<P>(g, work.along, work.seed.data(), T, n);
        Features& y = P == VALUES ? *b.x : *b.x_along;
        collect(mine.gathered + size_t(n) * BLOCK * D * CE, b.count, y.gathered);
        atoms_forward<T, P>(w.m.layers[T], b);
        if constexpr (T < N_LAYERS - 1) {
            mix<L, C, CE>(y.state, w.m.layers[T + 1].down, work.block);
            scatter(work.block, b.count, mine.sent[T + 1] + size_t(n) * BLOCK * D * CE);
        }
    }
    if constexpr (T < N_LAYERS - 1) forward_layer<T + 1, P>(w, g, work);
}

// Derivatives by a block's features from the layer above: its edges and its residual.
template <int T, Pass P>
static void from_above(const Weights& w, const Block& b, Slopes& y, const Slopes& above,
                       const float* sent_back, const Gradient& g) {
    constexpr size_t PASSING = sizeof(float) * components(out_degree(T + 1)) * BLOCK * C;
    collect(sent_back, b.count, y.sent);
    std::memcpy(y.state, above.passed, PASSING);
    std::memset((char*)y.state + PASSING, 0, sizeof y.state - PASSING);
    mix<L, CE, C, true>(y.sent, w.m.layers[T + 1].down_back, y.state);
    if constexpr (P == TANGENTS)
        add_outer_by_degree<L, C, CE>(b.x->state, b.x_along->state, b.back->sent, b.back_along->sent,
                                      g.down);
}

template <int T, Pass P>
static void back_layer(const Weights& w, Group& g, Work& work, const GradientOf& to) {
    Half& mine = P == VALUES ? g.values : work.along;
    for (int n = 0; n < g.blocks(); ++n) {
        const Block b = block_of<P>(g, work.along, work.seed.data(), T, n);
        Slopes& y = P == VALUES ? *b.back : *b.back_along;
        const size_t at = size_t(n) * BLOCK * D * CE;
        if constexpr (T < N_LAYERS - 1)
            from_above<T, P>(w, b, y, mine.slopes[T + 1][n],
                             mine.sent_back[T + 1] + at, to.layers[T + 1]);
        else
            std::memset(y.state, 0, sizeof y.state);
        atoms_back<T, P>(w.m.layers[T], b, to.layers[T], work.block);
        scatter(work.block, b.count, mine.gathered_back[T] + at);
        if constexpr (P == TANGENTS) weights_gradient<T>(b, to.layers[T]);
    }
    Ends ends = ends_of(w, g, work.along, T);
    if (T > 0) clear(mine.sent_back[T], g.n_atoms);
    if (T == 0) ends.sent_back_along = to.first;
    for (int k = 0; k < g.n_chunks(); ++k) {
        Chunk& c = g.chunks[k];
        Radials& r = g.radials[T][k];
        if constexpr (P == VALUES) {
            gather_values_back<T == 0>(c, r, ends);
            radial_back(w.radial[T], c, r);
        } else {
            float* weights = work.weights[T] + size_t(k) * CHUNK * W;
            gather_tangents_back<T == 0>(c, r.weights, weights, ends);
            radial_gradient(w.radial[T], c, r, weights, work.activated, to.radial[T]);
        }
    }
    if constexpr (T > 0) back_layer<T - 1, P>(w, g, work, to);
}

static void add_energies(const Weights& w, Group& g, double* energies) {
    for (int t = 0; t < N_LAYERS; ++t)
        for (int i = 0; i < g.n_atoms; ++i) {
            const Features& x = g.values.features[t][i / BLOCK];
            const Layer& layer = w.m.layers[t];
            const int slot = i % BLOCK;
            V total = V{};
            for (int v = 0; v < C; v += VL)
                total += load(x.state + slot * C + v) * load(layer.read_linear + v) +
                         load(x.read_activated + slot * C + v) * load(layer.read_outer + v);
            energies[g.start + i] += sum(total);
        }
}

static void values_pass(const Weights& w, const Batch& b, Group& g, Work& work, double* energies,
                        float* gradient) {
    fill_group(w.m, b, g, energies);
    forward_layer<0, VALUES>(w, g, work);
    add_energies(w, g, energies);
    back_layer<N_LAYERS - 1, VALUES>(w, g, work, {});
    for (int k = 0; k < g.n_chunks(); ++k) {
        const Chunk& c = g.chunks[k];
        for (int e = 0; e < c.count; e += VL)
            shape_back(c.shapes[e / VL], std::min(VL, c.count - e), gradient + 3 * (c.first + e));
    }
}

static void tangents_pass(const Weights& w, const float* seed, const float* direction, Group& g,
                          Work& work, const GradientOf& to) {
    work.along.need(g.n_atoms);
    for (auto& weights : work.weights) weights.need(size_t(g.n_chunks()) * CHUNK * W);
    work.seed.assign(seed + g.start, seed + g.start + g.n_atoms);
    for (int k = 0; k < g.n_chunks(); ++k) {
        Chunk& c = g.chunks[k];
        for (int e = 0; e < c.count; e += VL)
            shape_along(direction + 3 * (c.first + e), std::min(VL, c.count - e), c.shapes[e / VL]);
    }
    forward_layer<0, TANGENTS>(w, g, work);
    back_layer<N_LAYERS - 1, TANGENTS>(w, g, work, to);
}

// ---------------------------------------------------------------- for the caller

template <class Job>
static void share(Training& t, int threads, const Job& job) {
    while (int(t.works.size()) < threads) t.works.push_back(std::make_unique<Work>());
    // a thread's share is fixed, and so is the order of its sums
    std::atomic<bool> failed{false};
    auto part = [&](int n) {
        try {
            for (size_t g = n; g < t.n_groups; g += threads) job(*t.groups[g], *t.works[n]);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
    std::vector<std::thread> helpers;
    helpers.reserve(threads);
    try {
        for (int n = 1; n < threads; ++n) helpers.emplace_back(part, n);
    } catch (const std::exception&) {  // the system gives no more of them
    }
    part(0);
    for (int n = int(helpers.size()) + 1; n < threads; ++n) part(n);
    for (auto& helper : helpers) helper.join();
    if (failed) throw std::bad_alloc();
}

extern "C" {

Training* tdn_training() { return new Training; }

void tdn_free_training(Training* training) { delete training; }

int64_t tdn_n_weights() {
    Weights w;
    return int64_t(bind_all<const float*>(nullptr, w.m.layers, w.radial, w.first));
}

// Constants of the pairs of elements and of the repulsion, as of tdn_model.
void tdn_constants(Training* t, const float* pairs, const float* screening, float wall,
                   float saturation, double cutoff) {
    Model& m = t->weights.m;
    for (int p = 0; p < N_ELEMENTS * N_ELEMENTS; ++p)
        m.pairs[p] = {pairs[4 * p], pairs[4 * p + 1], pairs[4 * p + 2], pairs[4 * p + 3]};
    std::copy_n(screening, 8, m.screening);
    m.wall = wall;
    m.saturation = saturation;
    m.cutoff = cutoff;
}

// Energies (N,) and their derivatives by the vectors (E, 3). The weights have to stay until the
// gradient is computed. Returns 1 where memory ran out.
int tdn_values(Training* t, const float* weights, const Batch* batch, int threads, double* energies,
               float* gradient) try {
    bind_all<const float*>(weights, t->weights.m.layers, t->weights.radial, t->weights.first);
    const auto at = cuts(*batch);
    t->n_groups = at.size() - 1;
    while (t->groups.size() < t->n_groups) t->groups.push_back(std::make_unique<Group>());
    for (size_t g = 0; g < t->n_groups; ++g) {
        Group& group = *t->groups[g];
        group.start = int(at[g][0]);
        group.n_atoms = int(at[g + 1][0] - at[g][0]);
        group.first = at[g][1];
        group.n_edges = at[g + 1][1] - at[g][1];
    }
    std::fill_n(energies, batch->n_atoms, 0.0);
    share(*t, threads, [&](Group& group, Work& work) {
        values_pass(t->weights, *batch, group, work, energies, gradient);
    });
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}

// The loss's derivatives by the weights, in their order, nothing for transposed ones; given those by
// the energies (N,) and by their derivatives (E, 3) of the last call of tdn_values.
int tdn_gradient(Training* t, const float* seed, const float* direction, int threads, int64_t size,
                 float* gradient) try {
    for (auto& work : t->works) work->gradient.clear();
    share(*t, threads, [&](Group& group, Work& work) {
        if (work.gradient.empty()) work.gradient.assign(size, 0.0f);
        GradientOf to;
        bind_all<float*>(work.gradient.data(), to.layers, to.radial, to.first);
        tangents_pass(t->weights, seed, direction, group, work, to);
    });
    std::fill_n(gradient, size, 0.0f);
    for (const auto& work : t->works)
        for (size_t n = 0; n < work->gradient.size(); ++n) gradient[n] += work->gradient[n];
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}
}
