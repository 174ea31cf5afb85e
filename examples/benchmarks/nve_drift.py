"""Energy conservation of a model: NVE near 300 K, float32, 0.5 fs, of aspirin for 10 ps.

Prints the drift (slope of the total energy) of the whole run and of each quarter, and draws it.
With a shard of data it takes that shard's drug-like molecule of a size nearest to 50 atoms.

    python nve_drift.py [--picoseconds 10] [--model organic] [--shard TEST.npz] [--output FILE.png]
"""

import argparse
from pathlib import Path

import numpy as np
from ase.io import read
from harness.molecules import drugs
from matplotlib.figure import Figure

from tdncalc import MDSettings, TDNCalculator, relax, run_md


def main() -> None:
    """Relax, simulate, and report the drift."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--model", default="organic")
    parser.add_argument("--shard", type=Path)
    parser.add_argument("--output", type=Path, default=Path("nve_drift.png"))
    options = parser.parse_args()
    calculator = TDNCalculator(options.model)
    if options.shard is None:
        start = read(Path(__file__).parents[1] / "aspirin.xyz")
    else:
        start = min(drugs(options.shard), key=lambda atoms: abs(len(atoms) - 50))
    atoms = relax(start, calculator=calculator).atoms
    rows: list[tuple[float, float]] = []
    settings = MDSettings(
        steps=round(options.picoseconds / 0.0005),
        ensemble="nve",
        temperature_K=600.0,  # at the minimum: half of it becomes potential energy
        timestep_fs=0.5,
        interval=10,
        seed=1,
    )
    result = run_md(
        atoms,
        calculator=calculator,
        settings=settings,
        observer=lambda step: step.frame and rows.append((step.frame.time_fs, step.frame.total_eV)),
    )
    time_ps, total = np.array(rows).T * [[1e-3], [1e3 / len(atoms)]]  # ps, meV/atom
    total -= total[0]
    slopes = [
        np.polyfit(time_ps[part], total[part], 1)[0]
        for part in np.array_split(np.arange(len(total)), 4)
    ]
    print(
        f"{atoms.get_chemical_formula()}: {len(atoms)} atoms, {time_ps[-1]:.1f} ps, "
        f"mean temperature {result.temperature_K:.0f} K"
    )
    print(
        f"drift {np.polyfit(time_ps, total, 1)[0]:+.5f} meV/atom/ps; by quarter "
        + ", ".join(f"{slope:+.4f}" for slope in slopes)
    )
    print(f"standard deviation of the total energy {total.std():.4f} meV/atom")
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(time_ps, total, lw=0.5)
    axes.set(xlabel="time (ps)", ylabel="total energy (meV/atom)")
    axes.grid(alpha=0.3)
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
