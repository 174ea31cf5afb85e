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

#include "passes.h"

static int n_blocks(int n_atoms) { return (n_atoms + BLOCK - 1) / BLOCK; }

// Make room for parts of up to so many atoms and pairs: it is the caller who meets a lack of memory.
static void make_room(Memory& memory, size_t n, size_t pairs, bool gradient, bool novelties) {
    const size_t blocks = n_blocks(int(n));
    const size_t spared = N_LAYERS <= 2 ? blocks : std::min(blocks, size_t(n_blocks(FEW)));
    for (int t = 0; t < LAST; ++t) {
        const size_t all = gradient || t == 0 ? blocks : 0;
        memory.gathered[t].need(all * GATHERED);
        memory.out[t].need((gradient && t == 0 ? spared : all) * OUT_SIZE);
        memory.gates[t].need(gradient ? spared : 0);
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
    memory.repelled.need(n);
    memory.slope.need(blocks * BLOCK);
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
Model* tdn_model(const float* weights, int64_t n_weights, const float* pairs, const float* lowest,
                 float floor_depth, const float* largest, const float* screening, float wall,
                 float saturation, double cutoff, float origin, float step, int n_intervals) {
    auto model = std::make_unique<Model>();
    if (int64_t(bind<const float*>(model->layers, nullptr)) != n_weights) return nullptr;
    model->packed.assign(weights, weights + n_weights);
    bind<const float*>(model->layers, model->packed.data());
    for (int p = 0; p < N_ELEMENTS * N_ELEMENTS; ++p)
        model->pairs[p] = {pairs[4 * p], pairs[4 * p + 1], pairs[4 * p + 2], pairs[4 * p + 3]};
    std::copy_n(lowest, N_ELEMENTS, model->lowest);
    model->floor_depth = floor_depth;
    for (int t = 0; t < N_LAYERS; ++t)
        std::copy_n(largest + t * N_ELEMENTS, N_ELEMENTS, model->layers[t].largest);
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

// Shifts have 16 bits, or 32 where wide. Returns 0 and the list, 1 where memory ran out, or 2 where
// the pairs are not a full list.
int tdn_list(int n_atoms, int n_structures, int64_t n_pairs, const int32_t* source,
             const int32_t* target, int wide, const void* shift, const int64_t* structure,
             List** made) try {
    auto list = std::make_unique<List>();
    list->n_atoms = n_atoms;
    list->n_structures = n_structures;
    auto fill = [&](auto* shifts) {
        return fill_list(*list, n_pairs, source, target, shifts, structure, SMALL);
    };
    if (!(wide ? fill((const int32_t*)shift) : fill((const int16_t*)shift))) return 2;
    *made = list.release();
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
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
