// The passes over the layers: forward, back, and the forces.
#pragma once

#include "distance.h"
#include "edges.h"
#include "memory.h"

// Edges of an atom until their number is known.
struct Found {
    std::vector<float> vectors;
    std::vector<int32_t> near;
};

static void find_edges(const Task& task, int i) {
    thread_local Found found;
    const Pairs& list = task.list;
    Memory& memory = *task.memory;
    const int64_t first = list.first[i], last = list.first[i + 1];
    found.vectors.resize(std::max(found.vectors.size(), 3 * size_t(last - first)));
    found.near.resize(std::max(found.near.size(), size_t(last - first)));
    const double* own = task.positions + 3 * size_t(i);
    const double limit = task.m.cutoff * task.m.cutoff;
    double nearest = limit;
    int count = 0;
    for (int64_t p = first; p < last; ++p) {
        const double* other = task.positions + 3 * size_t(list.source[p]);
        const double* offset = task.offsets + 3 * size_t(list.shift[p]);
        // in this order the two directions of a pair round alike
        const double x = (other[0] - own[0]) + offset[0], y = (other[1] - own[1]) + offset[1],
                     z = (other[2] - own[2]) + offset[2];
        float* vector = found.vectors.data() + 3 * count;
        vector[0] = float(x);
        vector[1] = float(y);
        vector[2] = float(z);
        found.near[count] = list.source[p];
        const double squared = x * x + y * y + z * z;
        const bool within = squared < limit;
        memory.place[p] = within ? count : -1;
        count += within;
        nearest = std::min(nearest, squared);
    }
    const int64_t start = memory.n_edges.fetch_add(count, std::memory_order_relaxed);
    std::copy_n(found.vectors.data(), 3 * count, memory.vectors + 3 * start);
    std::copy_n(found.near.data(), count, memory.near + start);
    std::fill_n(memory.edge_gradient + 3 * start, 3 * count, 0.0f);
    task.nearest[i] = nearest;
    memory.start[i] = start;
    memory.n_near[i] = count;
}

// One atom's part of a block (D, BLOCK, CE).
static void take(const float* block, int slot, V x[D][EV]) {
    for (int d = 0; d < D; ++d)
        for (int v = 0; v < EV; ++v) x[d][v] = load(block + (d * BLOCK + slot) * CE + v * VL);
}

static void put(const V x[D][EV], int slot, float* block) {
    for (int d = 0; d < D; ++d)
        for (int v = 0; v < EV; ++v) store(block + (d * BLOCK + slot) * CE + v * VL, x[d][v]);
}

// Messages that arrive at the atoms of a block, into (D, BLOCK, CE), and their repulsion.
template <bool FIRST>
static void gather_block(const Task& task, int t, int start, int count, float* gathered) {
    Memory& memory = *task.memory;
    Edges g;
    for (int slot = 0; slot < count; ++slot) {
        const int i = start + slot, own = task.elements[i];
        const int64_t first = memory.start[i];
        V a[D][EV] = {};
        if (FIRST) memory.repelled[i] = 0;
        for (int n = 0; n < memory.n_near[i]; n += VL) {
            read<1>(g, task.m, t, task.elements, own, memory.vectors + 3 * first,
                    memory.near + first, n, memory.n_near[i]);
            if (FIRST) {
                gather_first(g, a);
                for (int e = 0; e < g.count; ++e) {
                    float slope;
                    memory.repelled[i] += repulsion(task.m, task.m.pairs[g.pair[e]], g.length[e], slope);
                }
            } else {
                gather(g, memory.carried[t % 2] + 0, a);
            }
        }
        put(a, slot, gathered);
    }
}

static void add_gradient(float* out, int count, float sign, const V x[3]) {
    for (int e = 0; e < count; ++e)
        for (int c = 0; c < 3; ++c) out[3 * e + c] += sign * x[c][e];
}

// First layer: from the derivative by the messages gathered in a block to that by its edges.
static void first_edges_back(const Task& task, int start, int count, const float* gathered_back) {
    Memory& memory = *task.memory;
    Edges g;
    EdgeBack back;
    for (int slot = 0; slot < count; ++slot) {
        const int i = start + slot;
        const int64_t first = memory.start[i];
        V a_back[D][EV];
        take(gathered_back, slot, a_back);
        for (int n = 0; n < memory.n_near[i]; n += VL) {
            read<1>(g, task.m, 0, task.elements, task.elements[i], memory.vectors + 3 * first,
                    memory.near + first, n, memory.n_near[i]);
            gather_first_back(g, a_back, back);
            V x[3];
            by_vector(g, back, x);
            for (int e = 0; e < g.count; ++e) {
                float slope;
                repulsion(task.m, task.m.pairs[g.pair[e]], g.length[e], slope);
                for (int c = 0; c < 3; ++c) x[c][e] += slope * g.u[c][e];
            }
            add_gradient(memory.edge_gradient + 3 * (first + n), g.count, 1, x);
        }
    }
}

// Layer t: derivatives by the edges that start in a block; what its atoms send, (D, BLOCK, CE), becomes
// the derivative by that.
static void edges_back(const Task& task, int t, int start, int count, float* messages) {
    Memory& memory = *task.memory;
    Edges g;
    EdgeBack back;
    for (int slot = 0; slot < count; ++slot) {
        const int i = start + slot;
        const int64_t first = memory.start[i];
        V s[D][EV], s_back[D][EV] = {};
        take(messages, slot, s);
        for (int n = 0; n < memory.n_near[i]; n += VL) {
            read<-1>(g, task.m, t, task.elements, task.elements[i], memory.vectors + 3 * first,
                     memory.near + first, n, memory.n_near[i]);
            gather_back(g, memory.carried[(t + 1) % 2] + 0, s, s_back, back);
            V x[3];
            by_vector(g, back, x);
            add_gradient(memory.edge_gradient + 3 * (first + n), g.count, -1, x);
        }
        put(s_back, slot, messages);
    }
}

// Move a block's (D, BLOCK, CE) to the array by atom (N, D, CE).
static void spread(const float* block, int start, int count, float* by_atom) {
    for (int slot = 0; slot < count; ++slot)
        for (int d = 0; d < D; ++d)
            std::memcpy(by_atom + (size_t(start + slot) * D + d) * CE, block + (d * BLOCK + slot) * CE,
                        CE * sizeof(float));
}

static void collect(const float* by_atom, int start, int count, float* block) {
    for (int slot = 0; slot < count; ++slot)
        for (int d = 0; d < D; ++d)
            std::memcpy(block + (d * BLOCK + slot) * CE, by_atom + (size_t(start + slot) * D + d) * CE,
                        CE * sizeof(float));
}

// What the layers give the atoms of a block becomes bounded, and the repulsion is added.
static void finish_energies(const Task& task, int start, int count) {
    float* slope = task.memory->slope + start;
    std::fill_n(slope, BLOCK, 1.0f);
    for (int slot = 0; slot < count; ++slot) {
        double& energy = task.energies[start + slot];
        energy = bounded_below(task.m, energy, task.elements[start + slot], slope[slot]);
        energy += task.memory->repelled[start + slot];
    }
}

template <int T>
static void backward_block(const Task& task, int block, float* back) {
    Scratch& s = scratch();
    const int start = block * BLOCK, count = std::min(BLOCK, task.list.n_atoms - start);
    backward<T>(task.m.layers[T], task.elements + start, count, kept_of<T>(task, block),
                gates_of<T>(task, block), s, task.memory->slope + start, back,
                passed_to<T>(task, block));
    if constexpr (T > 0)
        spread(s.messages, start, count, task.memory->carried[(T + 1) % 2] + 0);
    else
        first_edges_back(task, start, count, s.messages);
}

template <int T>
static void forward_pass(const Task& task, int block) {
    Memory& memory = *task.memory;
    Scratch& s = scratch();
    const Layer& layer = task.m.layers[T];
    const int start = block * BLOCK, count = std::min(BLOCK, task.list.n_atoms - start);
    if constexpr (T == 0)
        for (int slot = 0; slot < count; ++slot) find_edges(task, start + slot);
    const Kept kept = kept_of<T>(task, block);
    gather_block<T == 0>(task, T, start, count, kept.gathered);
    Gates& g = gates_of<T>(task, block);
    find_out<T>(layer, task.elements + start, count, s, kept, passed_to<T>(task, block));
    find_gates<T>(layer, kept.out, g, s);
    readout(layer, count, g, s, task.energies + start);
    if constexpr (T == LAST) finish_energies(task, start, count);
    if (task.descriptors)
        for (int slot = 0; slot < count; ++slot)
            std::memcpy(task.descriptors + (size_t(start + slot) * N_LAYERS + T) * C,
                        s.state + slot * C, C * sizeof(float));
    if (task.distance)
        for (int i = start; i < start + count; ++i)
            add_distance<T>(task.distance + task.elements[i] * DISTANCE, s.state + (i - start) * C,
                            memory.projected + size_t(i) * RANK, task.novelties[i]);
    if constexpr (T < LAST) {
        constexpr int NEXT = components(out_degree(T + 1));
        std::memcpy(passed_to<T + 1>(task, block), s.state, sizeof(float) * NEXT * BLOCK * C);
        mix<L, C, CE>(s.state, task.m.layers[T + 1].down, s.messages);
        spread(s.messages, start, count, memory.carried[(T + 1) % 2] + 0);
    } else if (task.gradient) {
        std::memset(s.back, 0, sizeof(float) * BLOCK * C);
        backward_block<T>(task, block, s.back);
    }
}

// The backward pass of layer T < LAST begins with the edges of the layer above.
template <int T>
static void backward_pass(const Task& task, int block) {
    Scratch& s = scratch();
    const int start = block * BLOCK, count = std::min(BLOCK, task.list.n_atoms - start);
    const Layer& above = task.m.layers[T + 1];
    const Kept kept = kept_of<T>(task, block);
    if (!keeps_out<T>(true, task.list.n_atoms))
        find_out<T>(task.m.layers[T], task.elements + start, count, s, kept, nullptr);
    if (!keeps_gates(task))
        find_gates<T>(task.m.layers[T], kept.out, gates_of<T>(task, block), s);
    else if (T + 1 < LAST)
        apply_gates<T>(kept.out, gates_of<T>(task, block), s.state);
    if (T + 1 < LAST)
        mix<L, C, CE>(s.state, above.down, s.messages);
    else
        collect(task.memory->carried[LAST % 2] + 0, start, count, s.messages);
    edges_back(task, T + 1, start, count, s.messages);
    float* back = passed_to<T + 1>(task, block);
    if constexpr (T + 1 == LAST) {
        std::memcpy(s.back, back, sizeof(float) * BLOCK * C);
        std::memset(s.back + BLOCK * C, 0, sizeof s.back - sizeof(float) * BLOCK * C);
        back = s.back;
    }
    mix<L, CE, C, true>(s.messages, above.down_back, back);
    backward_block<T>(task, block, back);
}

// Forces: an edge vector grows with the source's position and shrinks with the target's.
static void force_pass(const Task& task, int block) {
    const Pairs& list = task.list;
    Memory& memory = *task.memory;
    const int begin = block * BLOCK, end = std::min(begin + BLOCK, list.n_atoms);
    for (int i = begin; i < end; ++i) {
        double force[3] = {}, strain[9] = {};
        for (int64_t p = list.first[i]; p < list.first[i + 1]; ++p) {
            if (memory.place[p] < 0) continue;
            const int j = list.source[p], back = memory.place[list.first[j] + list.reverse[p]];
            const int64_t edge = memory.start[i] + memory.place[p];
            const float* mine = memory.edge_gradient + 3 * edge;
            const float* theirs = memory.edge_gradient + 3 * (memory.start[j] + back);
            const float* vector = memory.vectors + 3 * edge;
            for (int a = 0; a < 3; ++a) {
                force[a] += double(mine[a]) - double(theirs[a]);
                for (int b = 0; b < 3; ++b) strain[3 * a + b] += double(vector[a]) * double(mine[b]);
            }
        }
        std::memcpy(task.forces + 3 * size_t(i), force, sizeof force);
        if (task.virial) std::memcpy(task.virial + 9 * size_t(i), strain, sizeof strain);
    }
}

using Pass = void (*)(const Task&, int);

template <int T>
static void passes(std::vector<Pass>& list, bool gradient) {
    if constexpr (T < N_LAYERS) {
        list.push_back(forward_pass<T>);
        passes<T + 1>(list, gradient);
        if constexpr (T < LAST)
            if (gradient) list.push_back(backward_pass<T>);
    }
}
