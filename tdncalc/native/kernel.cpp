// Energy and gradient of the default network on the CPU, without tensors of edges.
//
// Atoms are worked through in blocks. A pass per layer gathers messages edge by edge into a block's
// features and multiplies them; passes from the last layer to the first carry the derivative of the
// energy back, and compute again what was not worth the memory. An atom belongs to one block, and sums
// run in the order of the neighbor list: results do not depend on the number of threads.
//
// "sizes.h" and "network.h" are generated: the sizes of a network, and its coupling coefficients
// unrolled. Letters: D components, C channels of an atom, CE of a message, L largest degree, V a vector
// of VL channels (features) or of VL edges (geometry).

#include <deque>

#include "atoms.h"
#include "distance.h"
#include "edges.h"
#include "list.h"

constexpr int LAST = N_LAYERS - 1;
constexpr int FEW = 4000;  // atoms up to which more than two layers keep their gates

// Memory of the passes over one part of a list, reused from one to the next.
struct Memory {
    // By block. In the `out` of a layer the features of the one before wait for its forward pass, and
    // after its backward pass the derivative by them. The last layer takes scalars, and keeps nothing.
    Buffer<Kept> kept[N_LAYERS];
    Buffer<float> scalars;  // by block, (BLOCK, C)
    Buffer<Gates, false> gates[N_LAYERS];  // by block
    // (N, D, CE): messages of layer t before they are coupled in t % 2, and in the backward pass the
    // derivative by its gathered messages in (t + 1) % 2.
    Buffer<float> carried[2];
    // Edges within the cutoff, those of an atom together. There is room for all candidates.
    Buffer<float, false> vectors;        // (edges, 3)
    Buffer<int32_t, false> near;         // (edges,): their sources
    Buffer<float, false> edge_gradient;  // (edges, 3): derivative by the edge vectors of a pair
    std::atomic<int64_t> n_edges;
    Buffer<int64_t> start;               // (N,): the first of an atom's edges
    Buffer<int32_t> n_near;              // (N,): how many it has
    Buffer<int32_t> place;               // (candidates,): among the atom's edges, or −1
    Buffer<float> projected;             // (N, RANK): scalars on the axes of the distance
};

// Of each worker. A deque: memory does not move.
using Memories = std::deque<Memory>;

// Atoms that a part of a list has at least, if there are so many: with fewer the last of its blocks
// is seldom full, and with more its memory leaves the cache of a core.
constexpr int SMALL = 64;
// Atoms above which all threads work at a part together.
constexpr int LARGE = 4 * SMALL;

// The computation of one part of a list: the caller's arrays from its first atom on.
struct Task {
    Model& m;
    Memory* memory;  // of the worker who does it
    const Pairs& list;
    const int32_t* elements;  // (N,)
    const double* positions;  // (N, 3)
    const double* offsets;    // (shifts, 3) Å
    bool gradient;
    double* energies;     // (N,)
    double* forces;       // (N, 3)
    double* virial;       // (N, 3, 3) or null
    double* nearest;      // (N,): squared distance of the nearest atom, Å²
    float* descriptors;   // (N, N_LAYERS · C) or null
    const float* distance;  // (N_ELEMENTS, DISTANCE) or null: no novelties are wanted
    double* novelties;      // (N,)
};

static Scratch& scratch() {
    thread_local std::unique_ptr<Scratch, Free> mine;
    if (!mine) {
        mine.reset((Scratch*)std::aligned_alloc(64, (sizeof(Scratch) + 63) / 64 * 64));
        if (!mine) throw std::bad_alloc();
        std::memset((void*)mine.get(), 0, sizeof(Scratch));
    }
    return *mine;
}

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

// Messages that arrive at the atoms of a block, into (D, BLOCK, CE); repulsion into the energies.
template <bool FIRST>
static void gather_block(const Task& task, int t, int start, int count, float* gathered) {
    Memory& memory = *task.memory;
    Edges g;
    for (int slot = 0; slot < count; ++slot) {
        const int i = start + slot, own = task.elements[i];
        const int64_t first = memory.start[i];
        V a[D][EV] = {};
        for (int n = 0; n < memory.n_near[i]; n += VL) {
            read<1>(g, task.m, t, task.elements, own, memory.vectors + 3 * first,
                    memory.near + first, n, memory.n_near[i]);
            if (FIRST) {
                gather_first(g, a);
                for (int e = 0; e < g.count; ++e) {
                    float slope;
                    task.energies[i] += repulsion(task.m, task.m.pairs[g.pair[e]], g.length[e], slope);
                }
            } else {
                gather(g, memory.carried[t % 2] + 0, a);
            }
        }
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < EV; ++v) store(gathered + (d * BLOCK + slot) * CE + v * VL, a[d][v]);
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
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < EV; ++v)
                a_back[d][v] = load(gathered_back + (d * BLOCK + slot) * CE + v * VL);
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
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < EV; ++v) s[d][v] = load(messages + (d * BLOCK + slot) * CE + v * VL);
        for (int n = 0; n < memory.n_near[i]; n += VL) {
            read<-1>(g, task.m, t, task.elements, task.elements[i], memory.vectors + 3 * first,
                     memory.near + first, n, memory.n_near[i]);
            gather_back(g, memory.carried[(t + 1) % 2] + 0, s, s_back, back);
            V x[3];
            by_vector(g, back, x);
            add_gradient(memory.edge_gradient + 3 * (first + n), g.count, -1, x);
        }
        for (int d = 0; d < D; ++d)
            for (int v = 0; v < EV; ++v)
                store(messages + (d * BLOCK + slot) * CE + v * VL, s_back[d][v]);
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

// What a block keeps of a layer. Without a backward pass one layer's memory does for all.
template <int T>
static Kept& kept_of(const Task& task, int block) {
    if constexpr (T == LAST)
        return scratch().kept;
    else
        return task.memory->kept[task.gradient ? T : 0][block];
}

static bool keeps_gates(const Task& task) {
    return task.gradient && (N_LAYERS <= 2 || task.list.n_atoms <= FEW);
}

template <int T>
static Gates& gates_of(const Task& task, int block) {
    return T < LAST && keeps_gates(task) ? task.memory->gates[T][block] : scratch().gates;
}

// Where a block's features wait for layer T, and then the derivative by them.
template <int T>
static float* passed_to(const Task& task, int block) {
    if constexpr (T == LAST)
        return task.memory->scalars + size_t(block) * BLOCK * C;
    else
        return kept_of<T>(task, block).out;
}

template <int T>
static void backward_block(const Task& task, int block, float* back) {
    Scratch& s = scratch();
    const int start = block * BLOCK, count = std::min(BLOCK, task.list.n_atoms - start);
    backward<T>(task.m.layers[T], task.elements + start, count, kept_of<T>(task, block),
                gates_of<T>(task, block), s, back, passed_to<T>(task, block));
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
    Kept& kept = kept_of<T>(task, block);
    gather_block<T == 0>(task, T, start, count, kept.gathered);
    Gates& g = gates_of<T>(task, block);
    forward<T>(layer, task.elements + start, count, s, kept, g, passed_to<T>(task, block));
    readout(layer, count, g, s, task.energies + start);
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
    const float* out = kept_of<T>(task, block).out;
    if (!keeps_gates(task))
        find_gates<T>(task.m.layers[T], out, gates_of<T>(task, block), s);
    else if (T + 1 < LAST)
        apply_gates<T>(out, gates_of<T>(task, block), s.state);
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

static int n_blocks(int n_atoms) { return (n_atoms + BLOCK - 1) / BLOCK; }

// Make room for parts of up to so many atoms and pairs: it is the caller who meets a lack of memory.
static void make_room(Memory& memory, size_t n, size_t pairs, bool gradient, bool novelties) {
    const size_t blocks = n_blocks(int(n));
    const size_t gated = N_LAYERS <= 2 ? blocks : std::min(blocks, size_t(n_blocks(FEW)));
    for (int t = 0; t < LAST; ++t) {
        memory.kept[t].need(gradient || t == 0 ? blocks : 0);
        memory.gates[t].need(gradient ? gated : 0);
    }
    memory.scalars.need(blocks * BLOCK * C);
    for (int t = 1; t < N_LAYERS; ++t) memory.carried[t % 2].need(n * D * CE);
    if (LAST == 1 && gradient) memory.carried[0].need(n * D * CE);
    memory.vectors.need(3 * pairs);
    memory.near.need(pairs);
    memory.edge_gradient.need(3 * pairs);
    memory.start.need(n);
    memory.n_near.need(n);
    memory.place.need(pairs);
    memory.projected.need(novelties ? n * RANK : 0);
}

static void compute(Task task, Memory& memory, int threads) {
    task.memory = &memory;
    memory.n_edges = 0;
    std::fill_n(task.energies, task.list.n_atoms, 0.0);
    std::vector<Pass> todo;
    passes<0>(todo, task.gradient);
    if (task.gradient) todo.push_back(force_pass);
    for (Pass pass : todo)
        task.m.pool.run(n_blocks(task.list.n_atoms), threads,
                        [&](int block, int) { pass(task, block); });
}

// The task of a part that begins with some atom of a whole.
static Task task_of(const Task& whole, const Pairs& part, size_t start) {
    auto from = [start](auto* array, size_t width) {
        return array ? array + start * width : nullptr;
    };
    return {whole.m,
            nullptr,
            part,
            from(whole.elements, 1),
            from(whole.positions, 3),
            whole.offsets,
            whole.gradient,
            from(whole.energies, 1),
            from(whole.forces, 3),
            from(whole.virial, 9),
            from(whole.nearest, 1),
            from(whole.descriptors, N_LAYERS * C),
            whole.distance,
            from(whole.novelties, 1)};
}

// Make room in the memory of some workers for the tasks of some parts.
static void make_room(Memories& memories, int workers, const std::vector<Task>& tasks) {
    size_t n = 0, pairs = 0;
    for (const Task& task : tasks) {
        n = std::max(n, size_t(task.list.n_atoms));
        pairs = std::max(pairs, task.list.source.size());
    }
    while (int(memories.size()) < workers) memories.emplace_back();
    for (int worker = 0; worker < workers && n; ++worker)
        make_room(memories[worker], n, pairs, tasks[0].gradient, tasks[0].distance);
}

// Small parts are worked through by one worker each, from the first pass to the last, whose memory
// stays in the worker's cache; at a large one, or at few, all work together.
static void compute_parts(const Task& whole, const List& list, Memories& memories, int threads) {
    Pool& pool = whole.m.pool;
    const bool many = int(list.parts.size()) >= 2 * threads;
    std::vector<Task> shared, single;
    int start = 0;
    for (const Pairs& part : list.parts) {
        (many && part.n_atoms <= LARGE ? single : shared).push_back(task_of(whole, part, start));
        start += part.n_atoms;
    }
    make_room(memories, 1, shared);
    for (const Task& task : shared) compute(task, memories[0], threads);
    make_room(memories, pool.workers(threads), single);
    pool.run(int(single.size()), threads,
             [&](int n, int worker) { compute(single[n], memories[worker], 1); });
}

// ---------------------------------------------------------------- for the caller

extern "C" {

// Returns null where the weights are not as many as the network has.
Model* tdn_model(const float* weights, int64_t n_weights, const float* pairs, const float* screening,
                 float wall, float saturation, double cutoff, float origin, float step,
                 int n_intervals) {
    auto model = std::make_unique<Model>();
    if (int64_t(bind<const float*>(model->layers, nullptr)) != n_weights) return nullptr;
    model->packed.assign(weights, weights + n_weights);
    bind<const float*>(model->layers, model->packed.data());
    for (int p = 0; p < N_ELEMENTS * N_ELEMENTS; ++p)
        model->pairs[p] = {pairs[4 * p], pairs[4 * p + 1], pairs[4 * p + 2], pairs[4 * p + 3]};
    std::copy_n(screening, 8, model->screening);
    model->wall = wall;
    model->saturation = saturation;
    model->cutoff = cutoff;
    model->origin = origin;
    model->step = step;
    model->n_intervals = n_intervals;
    return model.release();
}

void tdn_free_model(Model* model) { delete model; }

// The caller keeps the table alive: (n_intervals, ORDER, W).
void tdn_set_radial(Model* model, int layer, int pair, const float* table) {
    model->layers[layer].radial[pair] = table;
}

Memories* tdn_memory() { return new Memories; }

void tdn_free_memory(Memories* memories) { delete memories; }

// Shifts have 16 bits, or 32 where wide. Returns null where the pairs are not a full list.
List* tdn_list(int n_atoms, int n_structures, int64_t n_pairs, const int32_t* source,
               const int32_t* target, int wide, const void* shift, const int64_t* structure) {
    auto list = std::make_unique<List>();
    list->n_atoms = n_atoms;
    list->n_structures = n_structures;
    auto fill = [&](auto* shifts) {
        return fill_list(*list, n_pairs, source, target, shifts, structure, SMALL);
    };
    const bool full = wide ? fill((const int32_t*)shift) : fill((const int16_t*)shift);
    return full ? list.release() : nullptr;
}

void tdn_free_list(List* list) { delete list; }

// Returns 0, or 1 where memory ran out. Null: forces, virial and descriptors that are not
// wanted, and both of the distance and its novelties.
int tdn_compute(Model* model, Memories* memories, const List* list, const int32_t* elements,
                const double* positions, const double* cells, int threads, double* energies,
                double* forces, double* virial, float* descriptors, double* nearest,
                const float* distance, double* novelties) try {
    std::vector<double> offsets(3 * list->shifts.size() + 3);
    for (size_t s = 0; s < list->shifts.size(); ++s) {
        const double* cell = cells + 9 * size_t(list->shift_structure[s]);
        const auto& k = list->shifts[s];
        for (int x = 0; x < 3; ++x)
            offsets[3 * s + x] = k[0] * cell[x] + k[1] * cell[3 + x] + k[2] * cell[6 + x];
    }
    std::vector<double> by_atom(virial ? 9 * size_t(list->n_atoms) : 0);
    double* by_atom_or_null = virial ? by_atom.data() : nullptr;
    const Task whole{*model, nullptr, list->parts[0], elements, positions, offsets.data(),
                     forces != nullptr, energies, forces, by_atom_or_null, nearest, descriptors,
                     distance, novelties};
    compute_parts(whole, *list, *memories, threads);
    if (virial) {
        std::fill_n(virial, 9 * size_t(list->n_structures), 0.0);
        for (int i = 0; i < list->n_atoms; ++i)
            for (int x = 0; x < 9; ++x)
                virial[9 * size_t(list->structure[i]) + x] += by_atom[9 * size_t(i) + x];
    }
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}
}
