// What the passes over the layers work on: the caller's arrays, and memory of their own.
#pragma once

#include <deque>

#include "atoms.h"
#include "list.h"

constexpr int LAST = N_LAYERS - 1;
constexpr int FEW = 4000;  // atoms up to which more than two layers keep what can be computed again

// Memory of the passes over one part of a list, reused from one to the next.
struct Memory {
    // By block, as in Kept. In the `out` of a layer the features of the one before wait for its forward
    // pass, and after its backward pass the derivative by them. The last layer takes scalars, and keeps
    // nothing.
    Buffer<float> gathered[N_LAYERS], out[N_LAYERS];
    Buffer<float> scalars;                 // by block, (BLOCK, C)
    Buffer<Gates, false> gates[N_LAYERS];  // by block, where they are kept
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
    Buffer<double> repelled;             // (N,): energy of the repulsion, eV
    Buffer<float> slope;                 // (blocks · BLOCK,): of the bounded energy by the layers'
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

// Whether the gates, and the first layer's `out`, are computed again for the backward pass.
static bool computes_again(int n_atoms) { return N_LAYERS > 2 && n_atoms > FEW; }

template <int T>
static bool keeps_out(bool gradient, int n_atoms) {
    return T > 0 || !gradient || !computes_again(n_atoms);
}

// What a block keeps of a layer. Without a backward pass one layer's memory does for all.
template <int T>
static Kept kept_of(const Task& task, int block) {
    Scratch& s = scratch();
    if constexpr (T == LAST) return {s.gathered, s.out};
    const int t = task.gradient ? T : 0;
    float* gathered = task.memory->gathered[t] + size_t(block) * GATHERED;
    if (!keeps_out<T>(task.gradient, task.list.n_atoms)) return {gathered, s.out};
    return {gathered, task.memory->out[t] + size_t(block) * OUT_SIZE};
}

static bool keeps_gates(const Task& task) {
    return task.gradient && !computes_again(task.list.n_atoms);
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
