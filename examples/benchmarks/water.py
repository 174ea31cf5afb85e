"""Is a liquid water the one of its reference? Structure at its volume, density without pressure.

The reference is frames of its own trajectory, with forces. The temperature at which it ran is found
from them: that at which the mean square of the forces is kT times the mean curvature along the
coordinates (of the model, from differences of its forces). Of frames and runs: height and place of
the first maximum and minimum of g(r) between oxygen atoms, of that of oxygen and the hydrogen of
other molecules, and how many oxygen atoms lie within that minimum. Without a reference, a structure
to start from and a temperature are enough.

    python water.py FRAMES.extxyz --model MODEL [--picoseconds 20] [--temperature 330]
    python water.py examples/water.extxyz --temperature 300
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from ase.units import kB
from harness.findings import options, write_findings
from harness.trajectories import run

from tdncalc import MDSettings, TDNCalculator

BIN = 0.05  # Å
G_PER_CM3 = 1.66053907  # of one amu/Å³
TIMESTEP_FS = 0.5


def radial(frames: Sequence[Atoms], first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
    """Return distances in Å (bins,) up to half of a cubic box, and g(r) of two elements."""
    reach = min(frame.cell.lengths().min() for frame in frames) / 2
    edges = np.arange(0.0, reach, BIN)
    g = np.zeros(len(edges) - 1)
    for frame in frames:
        one, other = (np.flatnonzero(frame.symbols == s) for s in (first, second))
        distances = frame.get_all_distances(mic=True)[np.ix_(one, other)]
        pairs = len(one) * (len(other) - (first == second))
        counts = np.histogram(distances[distances > 0], edges)[0]
        g += counts * frame.get_volume() / pairs
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return (edges[1:] + edges[:-1]) / 2, g / shells / len(frames)


def peaks(r: np.ndarray, g: np.ndarray, start: float, end: float) -> tuple[float, float]:
    """Return place in Å and height of a maximum between two distances, by a parabola through it."""
    inside = np.flatnonzero((r > start) & (r < end))
    top = inside[np.argmax(g[inside])]
    a, b, c = np.polyfit(r[top - 2 : top + 3] - r[top], g[top - 2 : top + 3], 2)
    return float(r[top] - b / (2 * a)), float(c - b**2 / (4 * a))


def structure(frames: Sequence[Atoms]) -> dict[str, Any]:
    """Return what the radial distribution functions say."""
    r, oo = radial(frames, "O", "O")
    first, height = peaks(r, oo, 2.4, 3.2)
    low, depth = peaks(r, -oo, 3.0, 4.0)
    bond, bond_height = peaks(r, radial(frames, "O", "H")[1], 1.5, 2.2)
    density = np.mean([(frame.symbols == "O").sum() / frame.get_volume() for frame in frames])
    neighbors = 4 * np.pi * density * np.sum((oo * r**2)[r < low]) * BIN
    return {
        "frames": len(frames),
        "OO_maximum": [first, height],
        "OO_minimum": [low, -depth],
        "OH_maximum": [bond, bond_height],
        "neighbors": float(neighbors),
    }


def temperature(frames: Sequence[Atoms], calculator: TDNCalculator, probes: int = 40) -> float:
    """Return the temperature in K of frames with forces, from forces and curvatures."""
    rng, step = np.random.default_rng(1), 0.01
    squares, curvatures = [], []
    for frame in frames:
        squares.append((frame.get_forces() ** 2).sum())
        moved, found = frame.copy(), []
        moved.calc = calculator
        for _ in range(probes):
            along = rng.choice([-1.0, 1.0], (len(frame), 3))  # trace of the Hessian, on average
            ends = []
            for sign in (1, -1):
                moved.positions = frame.positions + sign * step * along
                ends.append((moved.get_forces() * along).sum())
            found.append((ends[1] - ends[0]) / (2 * step))
        curvatures.append(np.mean(found))
    return float(np.mean(squares) / np.mean(curvatures) / kB)


def diffusion(frames: Sequence[Atoms], between_ps: float) -> float:
    """Return the coefficient in 1e-9 m²/s from how far oxygen atoms go in 1 to 5 ps, or in less."""
    path = np.array([frame.positions[frame.symbols == "O"] for frame in frames])
    path -= path.mean(1, keepdims=True)
    longest = min(5.0, len(frames) * between_ps / 2)
    lags = np.arange(round(longest / 5 / between_ps), round(longest / between_ps))
    moved = [((path[lag:] - path[:-lag]) ** 2).sum(2).mean() for lag in lags]
    return float(np.polyfit(lags * between_ps, moved, 1)[0] / 6 * 10)


def line(name: str, found: dict[str, Any], rest: str = "") -> str:
    """Return a row of the table."""
    places = (found[key] for key in ("OO_maximum", "OO_minimum", "OH_maximum"))
    return " | ".join(
        [f"| {name}", *(f"{r:.2f}, {g:.2f}" for r, g in places), f"{found['neighbors']:.2f}", rest]
    )


def main() -> None:
    """Compare, and print a table."""
    parser = options(__doc__.splitlines()[0], sample=20, kept=False)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--picoseconds", type=float, default=20.0, help="of each of both runs")
    parser.add_argument("--temperature", type=float, help="K; that of the frames if not given")
    args = parser.parse_args()
    calculator = TDNCalculator(args.model)
    frames = read(args.frames, ":")
    cases: dict[str, Any] = {}
    kelvin = args.temperature
    if frames[0].calc:
        sample = frames[:: max(1, len(frames) // args.sample)]
        measured = temperature(sample, calculator)
        print(f"temperature of the frames' forces: {measured:.0f} K", flush=True)
        cases = {"reference": structure(frames), "reference_K": measured}
        kelvin = kelvin or measured
    elif not kelvin:
        parser.error("frames without forces have no temperature; give --temperature")
    print(
        "| | O–O maximum: Å, g | minimum: Å, g | O···H maximum: Å, g | O within the minimum | |\n"
        "| --- | ---: | ---: | ---: | ---: | --- |"
    )
    if cases:
        print(line("reference", cases["reference"]), "|", flush=True)
    shared = {
        "steps": round(1000 * (args.picoseconds + 5) / TIMESTEP_FS),
        "timestep_fs": TIMESTEP_FS,
        "temperature_K": kelvin,
        "interval": round(50 / TIMESTEP_FS),
        "seed": 1,
    }
    atoms = frames[-1]
    molecules = int((atoms.symbols == "O").sum())
    for name, settings in {
        "same volume": MDSettings(ensemble="nvt-bussi", **shared),
        "no pressure": MDSettings(ensemble="npt-mtk", **shared),
    }.items():
        result, path = run(atoms, calculator, settings)
        late = path[100:]  # 5 ps later
        masses, volumes = atoms.get_masses().sum(), [frame.get_volume() for frame in late]
        density = G_PER_CM3 * masses / np.mean(volumes)
        parts = np.array_split(volumes, 5)
        error = np.std([np.mean(part) for part in parts]) / 2 / np.mean(volumes) * density
        case = structure(late) | {
            "reason": result.reason,
            "density_g_per_cm3": float(density),
            "density_error": float(error),
            "diffusion_1e-9_m2_per_s": diffusion(late, 0.05),
        }
        cases[name] = case
        rest = f"{result.reason}, {density:.3f} ± {error:.3f} g/cm³, "
        rest += f"D {case['diffusion_1e-9_m2_per_s']:.1f} · 10⁻⁹ m²/s |"
        print(line(name, case, rest), flush=True)
        atoms = result.atoms
    summary = {"temperature_K": kelvin, "picoseconds": args.picoseconds, "molecules": molecules}
    found = {"summary": summary | {key.replace(" ", "_"): cases[key] for key in cases}}
    write_findings(args.out, "water", args.model, found)


if __name__ == "__main__":
    main()
