"""Do melts of a model for metals stay together? A crystal melted at fixed volume, then NPT.

A crystal is held at twice its melting point at fixed volume, then at a temperature at which it is
liquid, at zero pressure. Printed are how each ended, and of the last half at zero pressure density,
coordination (atoms within the first minimum of g(r)), shortest distance and how far atoms moved.

    python melts.py --model models/metals [--elements Li Si Cu] [--picoseconds 5]
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry.rdf import get_rdf
from harness.crystals import crystal
from harness.findings import options, write_findings
from harness.trajectories import run

from tdncalc import MDSettings, TDNCalculator

# lattice constant in Å of the start and repeats; temperatures in K to melt at, and to hold
STARTS = {"Li": (3.44, 4, 900, 600), "Si": (5.47, 2, 3300, 2000), "Cu": (3.65, 3, 2700, 1600)}
G_PER_CM3 = 1.66053907  # of one amu/Å³


def coordination(frames: list[Atoms]) -> tuple[float, float]:
    """Return the neighbors within the first minimum of g(r) behind its first maximum, and where."""
    reach = min(frame.cell.lengths().min() for frame in frames) / 2 - 0.01
    bins = 100
    found = [get_rdf(frame, reach, bins) for frame in frames]
    g, r = np.mean([one for one, _ in found], 0), found[0][1]
    g = np.convolve(g, np.ones(3) / 3, mode="same")
    first = int(np.argmax(g))
    last = first + int(np.argmin(g[first : int(1.7 * first)]))
    density = np.mean([len(frame) / frame.get_volume() for frame in frames])
    inside = 4 * np.pi * density * np.sum((g * r**2)[:last]) * (r[1] - r[0])
    return float(inside), float(r[last])


def melt(element: str, model: TDNCalculator, picoseconds: float) -> dict[str, Any]:
    """Melt an element, and return what the melt is like."""
    a, repeats, hot, held = STARTS[element]
    steps = round(1000 * picoseconds)
    shared = {"timestep_fs": 1.0, "seed": 1}
    first = MDSettings(steps, temperature_K=hot, **shared)
    molten, _ = run(crystal(element, a, repeats), model, first)
    second = MDSettings(steps, ensemble="npt-mtk", temperature_K=held, **shared)
    start = molten.atoms.copy()
    start.set_momenta(start.get_momenta() * (held / hot) ** 0.5)
    result, frames = run(start, model, second)
    late = frames[len(frames) // 2 :]
    neighbors, within = coordination(late)
    moved = late[-1].positions - late[0].positions
    volumes = [atoms.get_volume() for atoms in late]
    return {
        "element": element,
        "atoms": len(start),
        "ended": [molten.reason, result.reason],
        "temperature_K": held,
        "density_g_per_cm3": float(G_PER_CM3 * start.get_masses().sum() / np.mean(volumes)),
        "coordination": neighbors,
        "within_A": within,
        "shortest_A": float(min(_shortest(atoms) for atoms in late)),
        "moved_A": float(np.sqrt((moved**2).sum(1).mean())),
    }


def _shortest(atoms: Atoms) -> float:
    distances = atoms.get_all_distances(mic=True)
    return float(distances[np.triu_indices(len(atoms), 1)].min())


def main() -> None:
    """Melt all, and print a table."""
    parser = options(__doc__.splitlines()[0], sample=len(STARTS), kept=False)
    parser.add_argument("--elements", nargs="+", default=list(STARTS), choices=list(STARTS))
    parser.add_argument("--picoseconds", type=float, default=5.0, help="of each of both parts")
    args = parser.parse_args()
    model = TDNCalculator(args.model)
    print(
        "| melt | ended | density (g/cm³) | neighbors | within (Å) | shortest distance (Å) |"
        " moved (Å) |\n| --- | --- |" + " ---: |" * 5
    )
    cases = []
    for element in args.elements[: args.sample]:
        cases.append(case := melt(element, model, args.picoseconds))
        print(
            f"| {element}, {case['atoms']} atoms, {case['temperature_K']} K |"
            f" {', '.join(case['ended'])} | {case['density_g_per_cm3']:.2f} |"
            f" {case['coordination']:.1f} | {case['within_A']:.2f} | {case['shortest_A']:.2f} |"
            f" {case['moved_A']:.1f} |",
            flush=True,
        )
    found = {"summary": {"done": sum(c["ended"] == ["done", "done"] for c in cases)}}
    write_findings(args.out, "melts", args.model, found | {"cases": cases})


if __name__ == "__main__":
    main()
