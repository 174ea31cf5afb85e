"""Every ensemble with a model: temperature and its fluctuations, pressure, what is conserved.

Ethanol at constant volume and the benzene crystal at constant pressure. The kinetic energy of n
momenta is given over n kT/2, its variance over n (kT)²/2, and the covariance of pressure and volume
over -kT, as statistical mechanics has them.

    python ensembles.py [--model organic] [--picoseconds 20]
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from ase import units
from ase.io import read

from tdncalc import MDSettings, TDNCalculator, relax, run_md
from tdncalc.workflows.md import MDFrame

EXAMPLES = Path(__file__).parents[1]
KELVIN = 300.0
RUNS = {
    "nve": MDSettings(0, "nve", temperature_K=2 * KELVIN),  # half becomes potential energy
    "nvt-langevin": MDSettings(0, "nvt-langevin"),
    "nvt-bussi": MDSettings(0, "nvt-bussi"),
    "nvt-nose-hoover": MDSettings(0, "nvt-nose-hoover"),
    "npt-berendsen": MDSettings(0, "npt-berendsen"),
    "npt-mtk isotropic": MDSettings(0, "npt-mtk"),
    "npt-mtk full": MDSettings(0, "npt-mtk", cell="full"),
}


def frames_of(
    settings: MDSettings, calculator: TDNCalculator
) -> tuple[list[MDFrame], int, float | None]:
    """Return frames without the first fifth, the number of free momenta, and the drift."""
    name = "benzene.cif" if settings.constant_pressure else "ethanol.xyz"
    start = relax(read(EXAMPLES / name), calculator=calculator).atoms
    seen = []
    result = run_md(start, settings=settings, calculator=calculator, observer=seen.append)
    frames = [step.frame for step in seen if step.frame is not None]
    last = frames[-1]
    free = round(2 * last.kinetic_eV / (units.kB * last.temperature_K))
    return frames[len(frames) // 5 :], free, result.drift_meV_per_atom_per_ps


def line(settings: MDSettings, calculator: TDNCalculator) -> str:
    """Return the row of an ensemble."""
    frames, free, drift = frames_of(settings, calculator)
    thermal = units.kB * KELVIN
    kinetic = np.array([frame.kinetic_eV for frame in frames])
    row = f"{kinetic.mean() / (free * thermal / 2):.3f} | "
    row += f"{kinetic.var() / (free * thermal**2 / 2):.2f} | "
    row += "– | " if drift is None else f"{drift:.4f} | "
    if not settings.constant_pressure:
        return row + "– | –"
    pressures = np.array([frame.pressure_GPa for frame in frames])
    volumes = [frame.volume_A3 for frame in frames]
    covariance = np.cov(pressures * units.GPa, volumes)[0, 1]
    return row + f"{pressures.mean():.3f} | {-covariance / thermal:.2f}"


def main() -> None:
    """Run all, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="organic")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    options = parser.parse_args()
    calculator = TDNCalculator(options.model)
    print("| ensemble | <K> | var K | drift, meV/atom/ps | <P>, GPa | cov P V |")
    print("| --- | --- | --- | --- | --- | --- |")
    steps = round(options.picoseconds / 0.0005)
    for name, settings in RUNS.items():
        run = dataclasses.replace(settings, steps=steps, interval=5)
        print(f"| {name} | {line(run, calculator)} |", flush=True)


if __name__ == "__main__":
    main()
