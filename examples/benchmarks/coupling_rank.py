"""Search for the lowest rank at which the CP decomposition of the Gaunt coupling tensor is exact.

Goes downwards from below the lowest rank known, or from a given one: random starts of alternating
least squares (small degrees), and sets of vectors that the rotations of a tetrahedron or a
pentagon permute. Prints the residual of each rank that was tried, and the lowest exact one.

    python coupling_rank.py --l-max 4 [--minutes 2] [--highest 60] [--lowest 48]
"""

import argparse
import itertools
import time
from collections.abc import Iterator

from tdncalc.nn.coupling import EXACT_RANKS, coupling_tensor, paper_rank
from tdncalc.nn.decomposition import cp_factors
from tdncalc.nn.symmetric_decomposition import SymmetryGroup, symmetric_factors

EXACT = 1e-12
SIZES: dict[SymmetryGroup, tuple[int, ...]] = {"tetrahedron": (12,), "pentagon": (10, 2, 1)}


def sets(group: SymmetryGroup, rank: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to make a rank of sets of a group, at most two of each small size."""
    large, *small = SIZES[group]
    for counts in itertools.product(range(3), repeat=len(small)):
        rest = rank - sum(n * size for n, size in zip(counts, small, strict=True))
        if rest >= 0 and rest % large == 0:
            few = [size for n, size in zip(counts, small, strict=True) for _ in range(n)]
            yield (large,) * (rest // large) + tuple(few)


def attempts(l_max: int, rank: int, seed: int) -> Iterator[tuple[str, float]]:
    """Yield the name and the residual of each search at a rank."""
    tensor = coupling_tensor(l_max)
    for group in SIZES:
        for sizes in sets(group, rank):
            shape = "+".join(f"{len(list(n))}x{size}" for size, n in itertools.groupby(sizes))
            yield f"{group} {shape}", symmetric_factors(tensor, group, sizes, seed=seed).residual
    if l_max <= 3:
        yield "random starts", cp_factors(tensor, rank, seed=seed).residual


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--l-max", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--highest", type=int, help="try no rank above")
    parser.add_argument("--lowest", type=int, help="try no rank below")
    args = parser.parse_args()
    known = EXACT_RANKS["O3", "gaunt"].get(args.l_max, paper_rank(args.l_max))
    lowest = args.highest + 1 if args.highest else known
    bottom = args.lowest or lowest - max(2, lowest // 8)
    end = time.process_time() + 60 * args.minutes
    print(f"L = {args.l_max}: exact at rank {known} as far as known")
    for seed in itertools.count():
        if time.process_time() > end or lowest <= bottom:
            break
        for rank in range(lowest - 1, bottom - 1, -1):
            for name, residual in attempts(args.l_max, rank, seed):
                print(f"rank {rank}, {name}, seed {seed}: residual {residual:.1e}")
                lowest = min(lowest, rank if residual < EXACT else lowest)
            if time.process_time() > end:
                break
    print(f"L = {args.l_max}: lowest exact rank found {lowest}")


if __name__ == "__main__":
    main()
