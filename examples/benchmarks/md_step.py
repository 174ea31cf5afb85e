"""Time and memory of a step of molecular dynamics: this package and its peers, side by side.

Every contender runs in processes and in a virtual environment of its own. The contenders take turns
in rounds, so that whatever disturbs the machine disturbs all alike. Energy and forces are computed
through ASE at every step, neighbor lists included; see harness/worker.py.

    python md_step.py --setup ENVS                   make the environments, once
    python md_step.py --envs ENVS --out results/md   measure; writes md.json, md.md and md.png
    python md_step.py --out results/md --report      table and plot again, from md.json

Peers have their published sizes; where no weights come with a package they are random, on which
the speed does not depend. A process that takes longer than ``--limit`` seconds is given up.
"""

import argparse
import itertools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.environments import FOLDER, Contender, contenders, set_up
from harness.report import machine, median_ms, plot, table
from harness.systems import SYSTEMS, make_system

LARGE = 5000  # atoms, from where on a contender must be worth the time
AGAIN = "not possible before"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    names = [one.name for one in contenders()]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--setup", type=Path, metavar="ENVS", help="make the environments there")
    parser.add_argument("--envs", type=Path, help="folder of the environments; none: ours only")
    parser.add_argument("--out", type=Path, default=Path("md_step"), help="result without suffix")
    parser.add_argument("--report", action="store_true", help="only write table and plot again")
    parser.add_argument("--contenders", nargs="+", choices=names, default=names)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="of a round, 3 if above 3 s each")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round, up to 300 steps")
    parser.add_argument("--limit", type=float, default=400, help="seconds for one process")
    parser.add_argument(
        "--large-limit", type=float, default=60, help="the same, 5000 atoms or more"
    )
    return parser.parse_args()


def run(one: Contender, system: str, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure a contender on a system in a process of its own."""
    python = one.python(args.envs)
    assert python is not None
    number = str(threads)
    environment = os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        steps = ["--steps", str(args.steps), "--seconds", str(args.seconds)]
        command = [python, "-m", "harness.worker", str(one.path), system, str(out)]
        try:
            done = subprocess.run(
                [*command, "--threads", number, *steps],
                cwd=FOLDER,
                env=environment,
                capture_output=True,
                text=True,
                timeout=args.limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"without": f"more than {args.limit:.0f} s"}
        if out.exists():
            return json.loads(out.read_text())
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"without": last[:200]}


def obstacle(one: Contender, system: str, results: list[dict], args: argparse.Namespace) -> str:
    """Return why a contender is not asked, or nothing."""
    own = [run for run in results if run["contender"] == one.name]
    if any("without" in run and run["system"] == system for run in own):
        return AGAIN
    if one.python(args.envs) is None:
        return "no environment"
    atoms = make_system(system)
    if one.elements and (unknown := set(atoms.numbers) - one.elements):
        return f"does not know element {min(unknown)}"
    if len(atoms) > one.largest:
        return f"not asked above {one.largest} atoms"
    if len(atoms) >= LARGE and not one.ours and (seconds := forecast(own, len(atoms), args)):
        return f"it would take {seconds:.0f} s" if seconds > args.large_limit else ""
    return ""


def forecast(own: list[dict], atoms: int, args: argparse.Namespace) -> float:
    """Return the seconds that a contender needs on so many atoms, from its largest system."""
    measured = [run for run in own if "cpu_s" in run and run["atoms"] < LARGE]
    if not measured:
        return 0.0
    largest = max(run["atoms"] for run in measured)
    runs = [run for run in measured if run["atoms"] == largest]
    step = (median_ms(runs, "wall_s") or 0.0) / 1000 * atoms / largest
    return runs[0]["first_cpu_s"] + step * (5 if step > 3 else args.steps + 6)


def measure(chosen: list[Contender], args: argparse.Namespace, path: Path) -> None:
    """Measure all, contenders in turn, and write the report anew after each."""
    results: list[dict[str, Any]] = []
    turns = itertools.product(args.systems, range(args.rounds), args.threads, chosen)
    for system, turn, threads, one in turns:
        where = {"contender": one.name, "system": system, "threads": threads, "round": turn}
        if reason := obstacle(one, system, results, args):
            found = {"without": reason}
        else:
            found = run(one, system, threads, args)
        if reason != AGAIN:
            results.append(where | found)
            tell(results[-1])
            path.write_text(json.dumps(assemble(chosen, results, args)))


def assemble(
    chosen: list[Contender], results: list[dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    """Return the report of some results."""
    return {
        "machine": machine(),
        "systems": {name: SYSTEMS[name][0] for name in args.systems},
        "contenders": {one.name: describe(one, results) for one in chosen},
        "results": results,
    }


def describe(one: Contender, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a report says about a contender."""
    own = [run["versions"] for run in results if run["contender"] == one.name and "cpu_s" in run]
    return {"label": one.label, "model": one.model, "versions": own[0] if own else {}}


def tell(found: dict[str, Any]) -> None:
    """Print one result as it comes."""
    head = f"{found['system']:14} {found['contender']:18} {found['threads']} thread(s)"
    if "without" in found:
        print(f"{head}  {found['without']}", flush=True)
        return
    cpu, wall = median_ms([found], "cpu_s"), median_ms([found], "wall_s")
    print(
        f"{head} {cpu:10.3f} ms CPU {wall:10.3f} ms wall {found['first_cpu_s']:6.1f} s first"
        f" {found['peak_MB']:7.0f} MB {len(found['cpu_s']):4} steps",
        flush=True,
    )


def main() -> None:
    """Set up, measure or report."""
    args = arguments()
    chosen = [one for one in contenders() if one.name in args.contenders]
    if args.setup:
        set_up(chosen, args.setup)
        return
    path = args.out.with_suffix(".json")
    if not args.report:
        path.parent.mkdir(parents=True, exist_ok=True)
        measure(chosen, args, path)
    report = json.loads(path.read_text())
    text = table(report)
    path.with_suffix(".md").write_text(text)
    plot(report, path.with_suffix(".png"))
    print("\n" + text)


if __name__ == "__main__":
    main()
