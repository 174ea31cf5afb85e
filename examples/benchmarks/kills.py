"""Runs killed at random moments and resumed, against runs that were not.

Every ensemble runs `tdn md` of the bundled model, is killed (SIGKILL) some time after its files
begin to grow, and resumed by the same command, over and over. At the end trajectory, table and
checkpoint must be those of a run of its own that nobody touched, byte by byte. Each command is a
process of its own, forked from one that has imported torch.

With --relax it is one `tdn relax` of so many small molecules. At the end each of them must be in
the table and in the file of structures once, with the energy and the steps of the other run.

    python kills.py [--kills 50] [--steps 4000] [--seed 0]
    python kills.py --relax 1000 [--kills 50] [--seed 0]
"""

import argparse
import contextlib
import io
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.io import read, write

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


GOOD = (0, 3)  # the latter: not all converged
KNOWN = {"H", "C", "N", "O", "F", "S", "Cl"}


def command(name: str, steps: int, folder: Path) -> list[str]:
    """Return the command that begins or goes on with a run."""
    structure, *more = RUNS[name]
    steps = steps if structure == MOLECULE else steps // 8
    files = ["--interval", "3", "--checkpoint-interval", "7", "--output-dir", str(folder)]
    length = ["--steps", str(steps), "--ensemble", name.split()[0]]
    return ["md", str(EXAMPLES / structure), "-q", "--resume", *length, *files, *more]


def silently(arguments: list[str]) -> None:
    """Be the command line, and say only what goes wrong."""
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        code = main(arguments)
    if code not in GOOD:
        sys.stderr.write(told.getvalue())
    sys.exit(code)


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
    assert run.exitcode in GOOD
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
    tables = (*folder.glob("*.csv"), *folder.glob("*.jsonl"))
    return max((path.stat().st_mtime_ns for path in tables), default=0)


def same(whole: Path, parts: Path) -> bool:
    """Tell whether trajectory, table and checkpoint are the same bytes."""
    kinds = ("traj", "csv", "checkpoint")
    return all(
        next(whole.glob(f"*-md.{kind}")).read_bytes()
        == next(parts.glob(f"*-md.{kind}")).read_bytes()
        for kind in kinds
    )


def measure() -> None:
    """Kill relaxations or dynamics, as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000, help="of a molecule; crystals: 1/8")
    parser.add_argument("--relax", type=int, metavar="N", help="relax N molecules instead")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.relax is None:
            kill_dynamics(options, Path(scratch))
        else:
            kill_relaxations(options, Path(scratch))


def kill_relaxations(options: argparse.Namespace, scratch: Path) -> None:
    """Kill relaxations of many molecules until they are done, and print what became of them."""
    chance = random.Random(options.seed)
    library = scratch / "library.extxyz"
    write(library, molecules(options.relax))
    whole = scratch / "whole"

    def relaxing(folder: Path) -> list[str]:
        model = ["--model", "organic-small", "--threads", "1"]
        return ["relax", str(library), "-q", "--resume", *model, "--output-dir", str(folder)]

    seconds = finish(relaxing(whole), whole)
    killed = trial = 0
    while killed < options.kills:
        trial += 1
        parts = scratch / f"parts-{trial}"
        done = []
        # Later and later, so that it ends where no time is enough for the first of a batch.
        while kill(relaxing(parts), parts, chance.uniform(0, seconds * (1 + len(done) / 5) / 5)):
            done.append(len(outcomes(parts)))
        finish(relaxing(parts), parts)
        counts = f"{len(done)} kills, with {min(done, default=0)} to {max(done, default=0)} done"
        print(f"{counts}; {compared(whole, parts)}", flush=True)
        killed += len(done)
    print(f"{killed} kills in {trial} relaxations of {options.relax} molecules")


def molecules(count: int) -> list[Atoms]:
    """Make small molecules of known elements, each shaken in its own way."""
    made = [molecule(name) for name in g2.names]
    chosen = [atoms for atoms in made if len(atoms) > 3 and set(atoms.symbols) <= KNOWN]
    shaken = [chosen[index % len(chosen)].copy() for index in range(count)]
    for seed, atoms in enumerate(shaken):
        atoms.rattle(0.05, seed=seed)
    return shaken


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Return what the table says of each structure, but for a line that a kill cut off."""
    text = (folder / "relax.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def compared(whole: Path, parts: Path) -> str:
    """Say how many structures are lost, there twice, or came out otherwise."""
    straight, resumed = outcomes(whole), outcomes(parts)
    inputs = Counter(one["input"] for one in resumed)
    expected = {one["input"]: one for one in straight}
    lost, twice = len(expected.keys() - inputs), sum(n > 1 for n in inputs.values())
    written = [atoms.info["input"] for atoms in read(parts / "relaxed.extxyz", ":")]
    pairs = [(one, expected[one["input"]]) for one in resumed]
    steps = sum(one["steps"] != other["steps"] for one, other in pairs)
    furthest = max(abs(one["energy_eV"] - other["energy_eV"]) for one, other in pairs)
    order = "in the order of" if written == [one["input"] for one in resumed] else "UNLIKE"
    return (
        f"{lost} lost, {twice} twice, structures {order} the table; "
        f"{steps} with other steps, energies within {1e3 * furthest:.2g} meV"
    )


def kill_dynamics(options: argparse.Namespace, scratch: Path) -> None:
    """Kill dynamics, and print a line for each ensemble."""
    chance = random.Random(options.seed)
    killed = intact = 0
    for place, name in enumerate(RUNS):
        whole, parts = (Path(scratch, name, kind) for kind in ("whole", "parts"))
        seconds = finish(command(name, options.steps, whole), whole)
        share = options.kills // len(RUNS) + (place < options.kills % len(RUNS))
        resumed = command(name, options.steps, parts)
        kills = sum(kill(resumed, parts, chance.uniform(0, seconds / share)) for _ in range(share))
        finish(resumed, parts)
        identical = same(whole, parts)
        frames = len(read(f"{next(parts.glob('*.traj'))}", ":"))
        print(f"{name:16} {kills:2} kills, {frames} frames, identical: {identical}", flush=True)
        killed, intact = killed + kills, intact + kills * identical
    print(f"{intact} of {killed} kills left a run that ended bit by bit as if undisturbed")


if __name__ == "__main__":
    measure()
