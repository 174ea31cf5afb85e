// The neighbor list as the passes need it: by atom, each pair knowing its reverse.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <vector>

// Candidate pairs by target atom, in the order given: those of atom i are first[i] … first[i+1].
struct Pairs {
    int n_atoms;
    std::vector<int64_t> first;
    std::vector<int32_t> source;
    std::vector<int32_t> reverse;  // place of the same pair among those of its source
    std::vector<int32_t> shift;    // which of the shifts of the list
};

// Pairs of B structures, in parts that know nothing of each other: whole structures each.
struct List {
    int n_atoms, n_structures;
    std::vector<Pairs> parts;
    std::vector<std::array<double, 3>> shifts;  // in cell vectors
    std::vector<int32_t> shift_structure;       // the structure whose cell it is
    std::vector<int32_t> structure;             // of each atom
};

using Key = std::array<int32_t, 4>;  // structure and shift

// Shifts are any integers. Returns false where a pair has no reverse or an index is out of range.
template <class Shift>
static bool find_pairs(List& list, Pairs& pairs, int64_t n_pairs, const int32_t* source,
                       const int32_t* target, const Shift* shift, const int64_t* structure) {
    const int n = pairs.n_atoms;
    pairs.first.assign(n + 1, 0);
    for (int64_t p = 0; p < n_pairs; ++p) {
        if (source[p] < 0 || source[p] >= n || target[p] < 0 || target[p] >= n) return false;
        ++pairs.first[target[p] + 1];
    }
    for (int i = 0; i < n; ++i) pairs.first[i + 1] += pairs.first[i];
    pairs.source.resize(n_pairs);
    pairs.shift.resize(n_pairs);
    pairs.reverse.resize(n_pairs);

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
    std::vector<int64_t> place(pairs.first.begin(), pairs.first.end() - 1);
    for (int64_t p = 0; p < n_pairs; ++p) {
        const Shift* s = shift + 3 * p;
        const Key key{int32_t(structure[target[p]]), s[0], s[1], s[2]};
        if (key != last) {
            last = key;
            last_number = number(key);
        }
        const int64_t at = place[target[p]]++;
        pairs.source[at] = int32_t(source[p]);
        pairs.shift[at] = last_number;
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
    for (int i = 0; i < n; ++i) place[i] = pairs.first[i];
    for (int i = 0; i < n; ++i)
        for (int64_t p = pairs.first[i]; p < pairs.first[i + 1]; ++p) {
            const int j = pairs.source[p], wanted = opposite[pairs.shift[p]];
            auto matches = [&](int64_t q) { return pairs.source[q] == i && pairs.shift[q] == wanted; };
            int64_t q = place[j];
            if (q >= pairs.first[j + 1] || !matches(q)) {
                q = pairs.first[j];
                while (q < pairs.first[j + 1] && !matches(q)) ++q;
                if (q == pairs.first[j + 1]) return false;
            }
            pairs.reverse[p] = int32_t(q - pairs.first[j]);
            place[j] = q + 1;
        }
    return true;
}

// The pairs of the atoms start … end, of whole structures.
static Pairs part_of(const Pairs& all, int start, int end) {
    const int64_t from = all.first[start], to = all.first[end];
    Pairs part{end - start, {}, {}, {}, {}};
    for (int i = start; i <= end; ++i) part.first.push_back(all.first[i] - from);
    for (int64_t p = from; p < to; ++p) part.source.push_back(all.source[p] - start);
    part.reverse.assign(all.reverse.begin() + from, all.reverse.begin() + to);
    part.shift.assign(all.shift.begin() + from, all.shift.begin() + to);
    return part;
}

// Returns false where the pairs are no full list. The atoms of a structure follow one another, else
// all are one part; a part has at least so many atoms.
template <class Shift>
static bool fill_list(List& list, int64_t n_pairs, const int32_t* source, const int32_t* target,
                      const Shift* shift, const int64_t* structure, int least) {
    const int n = list.n_atoms;
    list.structure.assign(structure, structure + n);
    Pairs all{n, {}, {}, {}, {}};
    if (!find_pairs(list, all, n_pairs, source, target, shift, structure)) return false;
    if (n <= least || list.n_structures == 1 ||
        !std::is_sorted(list.structure.begin(), list.structure.end())) {
        list.parts.push_back(std::move(all));
        return true;
    }
    for (int start = 0, end = 1; start < n; ++end)
        if (end == n || (list.structure[end] != list.structure[end - 1] && end - start >= least)) {
            list.parts.push_back(part_of(all, start, end));
            start = end;
        }
    return true;
}
