"""One contender on one system in a process of its own: time and memory of steps of dynamics.

Runs in the contender's environment, ``python -m harness.worker PEER SYSTEM OUT``, and needs nothing
but ASE there. The contender computes energy and forces at every step through ASE; what moves the
atoms are springs to their places, the same for all, so that every contender sees the same positions
whatever its weights. The springs give each atom thermal vibrations at 300 K.
"""

import argparse
import json
import platform
import resource
import runpy
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet

from harness.systems import make_system

SLOW, VERY_SLOW = 3.0, 20.0  # seconds a step, above which three steps, or one, must do


class Springs:
    """Calls the contender at every step, and moves the atoms by springs to their places."""

    stiffness = 1.0  # eV/Å²: 0.16 Å in each direction at 300 K

    def __init__(self, contender: Calculator, atoms: Atoms) -> None:
        self.contender = contender
        self.places = atoms.positions.copy()

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        """Return the forces of the springs after the contender computed its own."""
        if not np.isfinite(self.contender.get_forces(atoms)).all():
            raise ValueError("forces are not finite")
        return self.stiffness * (self.places - atoms.positions)

    def get_potential_energy(self, atoms: Atoms) -> float:
        """Return the contender's energy."""
        return self.contender.get_potential_energy(atoms)


def peak_memory() -> float:
    """Return the largest resident memory in MB that this program had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def set_velocities(atoms: Atoms, temperature_K: float) -> None:
    """Give the atoms thermal velocities, the same in every version of ASE."""
    directions = np.random.default_rng(0).normal(size=(len(atoms), 3))
    masses = atoms.get_masses()[:, None]
    atoms.set_velocities(directions * np.sqrt(units.kB * temperature_K / masses))


def timed_step(dynamics: VelocityVerlet) -> tuple[float, float]:
    """Return processor and wall time in seconds of one step, and of asking for its energy."""
    cpu, wall = time.process_time(), time.perf_counter()
    dynamics.step()
    dynamics.atoms.calc.get_potential_energy(dynamics.atoms)
    return time.process_time() - cpu, time.perf_counter() - wall


def run_steps(dynamics: VelocityVerlet, steps: int, seconds: float) -> list[tuple[float, float]]:
    """Return the times of at least so many steps, and more of them if they are short."""
    first = timed_step(dynamics)[0]
    for _ in range(0 if first > SLOW else 4):  # what compiles itself does so in the first calls
        timed_step(dynamics)
    times: list[tuple[float, float]] = []
    wanted = min(steps, 1 if first > VERY_SLOW else 3) if first > SLOW else steps
    while len(times) < wanted or (len(times) < 300 and sum(cpu for cpu, _ in times) < seconds):
        times.append(timed_step(dynamics))
    return times


def versions(package: str) -> dict[str, str]:
    """Return the versions of a package and of what its speed depends on."""
    found = {"python": platform.python_version()}
    for name in (package, "torch", "numpy", "ase"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measure(peer: dict[str, Any], name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return what one contender costs on one system."""
    atoms = make_system(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(args.threads)
    contender = peer["calculator"](atoms)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(args.threads)
    contender.get_forces(atoms)
    first = time.process_time()
    atoms.calc = Springs(contender, atoms)
    set_velocities(atoms, 600)  # half of it goes into the springs
    times = run_steps(VelocityVerlet(atoms, units.fs), args.steps, args.seconds)
    return {
        "atoms": len(atoms),
        "first_cpu_s": first,
        "cpu_s": [cpu for cpu, _ in times],
        "wall_s": [wall for _, wall in times],
        "peak_MB": peak_memory(),
        "versions": versions(peer["PACKAGE"]),
    }


def main() -> None:
    """Measure, and write the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", type=Path)
    parser.add_argument("system")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    result = measure(runpy.run_path(str(args.peer)), args.system, args)
    args.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
