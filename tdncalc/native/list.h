// The neighbor list as the passes need it: by atom, each pair knowing its reverse.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <vector>

// Candidate pairs by target atom, in the order given: those of atom i are first[i] … first[i+1].
struct List {
    int n_atoms, n_structures;
    std::vector<int64_t> first;
    std::vector<int32_t> source;
    std::vector<int64_t> reverse;            // place of the same pair seen from its source
    std::vector<int32_t> shift;              // which of the shifts below
    std::vector<std::array<double, 3>> shifts;  // in cell vectors
    std::vector<int32_t> shift_structure;    // the structure whose cell it is
    std::vector<int32_t> structure;          // of each atom
};

using Key = std::array<int32_t, 4>;  // structure and shift

// Returns false where a pair has no reverse or an index is out of range.
static bool fill_list(List& list, int64_t n_pairs, const int64_t* source, const int64_t* target,
                      const double* shift, const int64_t* structure) {
    const int n = list.n_atoms;
    list.structure.assign(structure, structure + n);
    list.first.assign(n + 1, 0);
    for (int64_t p = 0; p < n_pairs; ++p) {
        if (source[p] < 0 || source[p] >= n || target[p] < 0 || target[p] >= n) return false;
        ++list.first[target[p] + 1];
    }
    for (int i = 0; i < n; ++i) list.first[i + 1] += list.first[i];
    list.source.resize(n_pairs);
    list.shift.resize(n_pairs);
    list.reverse.resize(n_pairs);

    std::map<Key, int32_t> known;
    auto number = [&](const Key& key) {
        const auto [at, added] = known.try_emplace(key, int32_t(list.shifts.size()));
        if (added) {
            list.shifts.push_back({double(key[1]), double(key[2]), double(key[3])});
            list.shift_structure.push_back(key[0]);
        }
        return at->second;
    };
    Key last{-1, 0, 0, 0};
    int32_t last_number = -1;
    std::vector<int64_t> place(list.first.begin(), list.first.end() - 1);
    for (int64_t p = 0; p < n_pairs; ++p) {
        const double* s = shift + 3 * p;
        const Key key{int32_t(structure[target[p]]), int32_t(s[0]), int32_t(s[1]), int32_t(s[2])};
        if (key != last) {
            last = key;
            last_number = number(key);
        }
        const int64_t at = place[target[p]]++;
        list.source[at] = int32_t(source[p]);
        list.shift[at] = last_number;
    }

    std::vector<int32_t> opposite(list.shifts.size());
    for (size_t s = 0; s < opposite.size(); ++s) {
        const auto& x = list.shifts[s];
        const auto found = known.find(
            Key{list.shift_structure[s], int32_t(-x[0]), int32_t(-x[1]), int32_t(-x[2])});
        if (found == known.end()) return false;
        opposite[s] = found->second;
    }
    // Targets are visited in order: the next unread pair of a source that points back is often it.
    for (int i = 0; i < n; ++i) place[i] = list.first[i];
    for (int i = 0; i < n; ++i)
        for (int64_t p = list.first[i]; p < list.first[i + 1]; ++p) {
            const int j = list.source[p], wanted = opposite[list.shift[p]];
            auto matches = [&](int64_t q) { return list.source[q] == i && list.shift[q] == wanted; };
            int64_t q = place[j];
            if (q >= list.first[j + 1] || !matches(q)) {
                q = list.first[j];
                while (q < list.first[j + 1] && !matches(q)) ++q;
                if (q == list.first[j + 1]) return false;
            }
            list.reverse[p] = q;
            place[j] = q + 1;
        }
    return true;
}
