"""Runs of molecular dynamics killed at random moments and resumed, against runs that were not.

Every ensemble runs `tdn md` of the bundled model, is killed (SIGKILL) some time after its files
begin to grow, and resumed by the same command, over and over. At the end trajectory, table and
checkpoint must be those of a run of its own that nobody touched, byte by byte. Each command is a
process of its own, forked from one that has imported torch.

    python kills.py [--kills 50] [--steps 4000] [--seed 0]
"""

import argparse
import contextlib
import io
import random
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

from ase.io import read

import tdncalc.calculator  # noqa: F401 - imports torch before any fork
from tdncalc.cli.main import main

EXAMPLES = Path(__file__).parents[1]
MOLECULE, CRYSTAL = "ethanol.xyz", "benzene.cif"
RAMPS = ("--temperature", "200:400")
RUNS: dict[str, tuple[str, ...]] = {
    "nve": (MOLECULE,),
    "nvt-langevin": (MOLECULE,),
    "nvt-bussi": (MOLECULE, *RAMPS),
    "nvt-nose-hoover": (MOLECULE, *RAMPS),
    "npt-berendsen": (CRYSTAL,),
    "npt-mtk": (CRYSTAL,),
    "npt-mtk full": (CRYSTAL, "--cell", "full", *RAMPS, "--pressure", "0:2"),
}


def command(name: str, steps: int, folder: Path) -> list[str]:
    """Return the command that begins or goes on with a run."""
    structure, *more = RUNS[name]
    steps = steps if structure == MOLECULE else steps // 8
    files = ["--interval", "3", "--checkpoint-interval", "7", "--output-dir", str(folder)]
    length = ["--steps", str(steps), "--ensemble", name.split()[0]]
    return ["md", str(EXAMPLES / structure), "-q", "--resume", *length, *files, *more]


def silently(arguments: list[str]) -> None:
    """Be the command line, and say only what goes wrong."""
    with contextlib.redirect_stdout(io.StringIO()):
        sys.exit(main(arguments))


def start(arguments: list[str], folder: Path) -> tuple[ForkProcess, float]:
    """Start a command, wait until it writes a row or ends, and return when that was."""
    before = stamp(folder)
    run = get_context("fork").Process(target=silently, args=(arguments,))
    run.start()
    while stamp(folder) == before and run.is_alive():
        time.sleep(0.001)
    return run, time.monotonic()


def finish(arguments: list[str], folder: Path) -> float:
    """Run to the end, and return how long the files grew, s."""
    run, began = start(arguments, folder)
    run.join()
    assert run.exitcode == 0
    return time.monotonic() - began


def kill(arguments: list[str], folder: Path, delay: float) -> bool:
    """Start or resume, kill after `delay` seconds of writing, and tell whether it was running."""
    run, _ = start(arguments, folder)
    time.sleep(delay)
    run.kill()
    run.join()
    return run.exitcode == -signal.SIGKILL


def stamp(folder: Path) -> int:
    """Return when the table was last written, which is never renamed."""
    return max((path.stat().st_mtime_ns for path in folder.glob("*.csv")), default=0)


def same(whole: Path, parts: Path) -> bool:
    """Tell whether trajectory, table and checkpoint are the same bytes."""
    kinds = ("traj", "csv", "checkpoint")
    return all(
        next(whole.glob(f"*-md.{kind}")).read_bytes()
        == next(parts.glob(f"*-md.{kind}")).read_bytes()
        for kind in kinds
    )


def measure() -> None:
    """Kill all, and print a line for each ensemble."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000, help="of a molecule; crystals: 1/8")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    killed = intact = 0
    with tempfile.TemporaryDirectory() as scratch:
        for place, name in enumerate(RUNS):
            whole, parts = (Path(scratch, name, kind) for kind in ("whole", "parts"))
            seconds = finish(command(name, options.steps, whole), whole)
            share = options.kills // len(RUNS) + (place < options.kills % len(RUNS))
            resumed = command(name, options.steps, parts)
            kills = sum(
                kill(resumed, parts, chance.uniform(0, seconds / share)) for _ in range(share)
            )
            finish(resumed, parts)
            identical = same(whole, parts)
            frames = len(read(f"{next(parts.glob('*.traj'))}", ":"))
            print(f"{name:16} {kills:2} kills, {frames} frames, identical: {identical}", flush=True)
            killed, intact = killed + kills, intact + kills * identical
    print(f"{intact} of {killed} kills left a run that ended bit by bit as if undisturbed")


if __name__ == "__main__":
    measure()
