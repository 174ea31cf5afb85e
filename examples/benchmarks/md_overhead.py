"""What a long run costs beside its steps: memory that grows, and files at their default intervals.

Memory is the resident size after many steps against that after 1,000, of a water molecule. The
time of trajectory, table and checkpoints is compared with that of the steps, of 1000 atoms.

    python md_overhead.py [--steps 100000] [--crystal-steps 1001]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from harness.systems import make_system

from tdncalc import MDFiles, MDSettings, TDNCalculator, run_md
from tdncalc.workflows.md_files import RunFiles

EARLY = 1_000


def files_in(folder: str) -> MDFiles:
    """Return the files of a run there."""
    return MDFiles(*(Path(folder) / f"run.{kind}" for kind in ("traj", "csv", "checkpoint")))


def resident() -> float:
    """Return the memory that this process holds now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory(atoms: Atoms, steps: int) -> tuple[float, float]:
    """Return the memory after 1,000 steps and at the end of a run with files, MB."""
    sizes = {}

    def observe(now: Any) -> None:  # noqa: ANN401 - an MDStep
        if now.step in (EARLY, steps):
            sizes[now.step] = resident()

    with tempfile.TemporaryDirectory() as folder:
        run_md(
            atoms,
            settings=MDSettings(steps),
            calculator=TDNCalculator(),
            files=files_in(folder),
            observer=observe,
        )
    return sizes[EARLY], sizes[steps]


class Clock:
    """Adds up the wall time and the processor time of a method."""

    def __init__(self, method: Callable[..., None]) -> None:
        self.method = method
        self.wall = self.cpu = 0.0

    def __get__(self, owner: object, kind: type) -> Callable[..., None]:
        """Return the method of an object, on the clock."""

        def timed(*arguments: object) -> None:
            wall, cpu = time.perf_counter(), time.process_time()
            self.method(owner, *arguments)
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu

        return timed


def overhead(atoms: Atoms, steps: int) -> tuple[float, float, float]:
    """Return a step's processor time in ms, and the share of files in it and in wall time."""
    calculator = TDNCalculator()
    run_md(atoms, settings=MDSettings(3), calculator=calculator)  # warms up
    clocks = [Clock(RunFiles.write), Clock(RunFiles.save)]
    RunFiles.write, RunFiles.save = clocks  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        run_md(atoms, settings=MDSettings(steps), calculator=calculator, files=files_in(folder))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    writing = sum(clock.wall for clock in clocks) / wall, sum(clock.cpu for clock in clocks) / cpu
    return 1000 * cpu / steps, writing[1], writing[0]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--crystal-steps", type=int, default=1_001)
    options = parser.parse_args()
    early, late = memory(make_system("water"), options.steps)
    print(
        f"memory after {EARLY} steps {early:.1f} MB, after {options.steps} {late:.1f} MB "
        f"({100 * (late / early - 1):+.2f} %)"
    )
    step, cpu, wall = overhead(make_system("silicon"), options.crystal_steps)
    print(
        f"1000 atoms: {step:.1f} ms of processor time a step; files take {100 * cpu:.2f} % of "
        f"processor time, {100 * wall:.2f} % of wall time"
    )


if __name__ == "__main__":
    main()
