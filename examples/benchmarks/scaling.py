"""What a step of the bundled model costs: against atoms, cutoff and threads, and its parts.

Liquid-like water in periodic boxes. Every figure comes from a fresh process; times are medians.
Steps are those of md_step.py, except that the share of neighbor lists is measured in dynamics with
the model's own forces at 300 K.

    python scaling.py [--atoms 192 1000 10000] [--threads 1 2] [--cutoffs 4 5 6] [--out s.json]
    python scaling.py --large 100000                 one large system only
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from harness.report import machine
from harness.systems import water_box
from harness.worker import Springs, peak_memory, run_steps, set_velocities

from tdncalc import TDNCalculator
from tdncalc.checkpoint import load_network, read_card, save_model
from tdncalc.geometry.neighbors import neighbor_list
from tdncalc.tdn import TDN

EVALUATIONS = ("compiled", "eager")
EAGER_LARGEST = 11_000  # atoms; beyond, PyTorch takes tens of GB


def water(atoms: int) -> Atoms:
    """Return a box of about so many atoms, as near a cube of molecules as can be."""
    edge = round((atoms / 3) ** (1 / 3))
    return (
        water_box(edge, edge, edge) if edge <= 15 else water_box(*[round(edge / 2)] * 3).repeat(2)
    )


def fresh(function: Callable[..., dict[str, Any]], *args: object) -> dict[str, Any]:
    """Call a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def step_cost(
    evaluation: str, atoms: int, threads: int, seconds: float, model: str = "organic"
) -> dict[str, Any]:
    """Return time and memory of steps of dynamics."""
    torch.set_num_threads(threads)
    system = water(atoms)
    calculator = TDNCalculator(model, evaluation=evaluation)
    system.calc = Springs(calculator, system)
    set_velocities(system, 600)
    times = run_steps(VelocityVerlet(system, units.fs), 5, seconds)
    cpu, wall = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    system.positions[0] += 2 * calculator.neighbors.skin  # the peak is that of a new search as well
    system.get_forces()
    peak = peak_memory()
    neighbors = neighbor_list(
        system.positions, system.cell.array, system.pbc, calculator.potential.cutoff
    )
    return {
        "atoms": len(system),
        "threads": threads,
        "cpu_ms": cpu,
        "wall_ms": wall,
        "us_per_atom": 1000 * cpu / len(system),
        "neighbors": neighbors[0].shape[1] / len(system),
        "peak_MB": peak,
    }


def property_cost(evaluation: str, atoms: int, repeats: int) -> dict[str, Any]:
    """Return the processor time in ms of energy, forces and stress, each with its predecessor."""
    torch.set_num_threads(1)
    system = water(atoms)
    calculator = TDNCalculator("organic", evaluation=evaluation)
    times: dict[str, list[float]] = {"energy": [], "forces": [], "stress": []}
    for _ in range(repeats + 1):
        for name, found in times.items():
            system.positions += 1e-4
            start = time.process_time()
            calculator.calculate(system, (name,), ["positions"])
            found.append(1000 * (time.process_time() - start))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    return {"atoms": len(system), "cpu_ms": medians}


def rebuild_cost(evaluation: str, atoms: int, steps: int) -> dict[str, Any]:
    """Return how often lists are built in dynamics at 300 K, and their share of the time."""
    torch.set_num_threads(1)
    system = water(atoms)
    system.calc = TDNCalculator("organic", evaluation=evaluation)
    set_velocities(system, 300)
    rng = np.random.default_rng(0)
    bath = {"temperature_K": 300, "friction": 0.1 / units.fs, "rng": rng, "fixcm": False}
    Langevin(system, units.fs, **bath).run(steps)
    dynamics, with_build, without = VelocityVerlet(system, units.fs), [], []
    for _ in range(steps):
        builds, start = system.calc.neighbors.n_builds, time.process_time()
        dynamics.step()
        elapsed = 1000 * (time.process_time() - start)
        (with_build if system.calc.neighbors.n_builds > builds else without).append(elapsed)
    usual = statistics.median(without)
    total = sum(with_build) + sum(without)
    return {
        "atoms": len(system),
        "temperature_K": system.get_temperature(),
        "steps_per_build": steps / max(len(with_build), 1),
        "usual_ms": usual,
        "with_build_ms": statistics.median(with_build) if with_build else None,
        "share": sum(value - usual for value in with_build) / total,
    }


def cutoff_model(cutoff: float, folder: str) -> str:
    """Write the bundled network with random weights and another cutoff; return its folder."""
    network, card = load_network("organic"), read_card("organic")
    torch.manual_seed(0)
    other = TDN(replace(network.config, cutoff=cutoff), network.coupling)
    path = f"{folder}/cutoff-{cutoff}"
    save_model(path, other.float(), {"name": f"cutoff-{cutoff}", "checks": card.get("checks", {})})
    return path


def trend(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the slope of log time against log atoms, and what an atom costs."""
    atoms = np.array([row["atoms"] for row in rows], dtype=float)
    times = np.array([row["cpu_ms"] for row in rows])
    found = {"slope": float(np.polyfit(np.log(atoms), np.log(times), 1)[0])}
    each = times / atoms
    small, large = (int(np.abs(np.log(atoms / size)).argmin()) for size in (1000, 10_000))
    found["10000_to_1000_per_atom"] = float(each[large] / each[small])
    memory = rows[-1]["peak_MB"] - rows[0]["peak_MB"]
    found["kB_per_atom"] = 1024 * memory / (atoms[-1] - atoms[0])
    return found


def lines(title: str, rows: Iterable[dict[str, Any]]) -> None:
    """Print dictionaries of the same keys as a markdown table."""
    rows = [_flat(row) for row in rows]
    print(f"\n### {title}\n")
    print("| " + " | ".join(rows[0]) + " |\n|" + " ---: |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row.values()) + " |", flush=True)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    inner = row.get("cpu_ms")
    if not isinstance(inner, dict):
        return row
    rest = {key: value for key, value in row.items() if key != "cpu_ms"}
    return rest | {f"{key}, ms": value for key, value in inner.items()}


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all that was asked for, and print it as it comes."""
    report: dict[str, Any] = {"machine": machine()}
    for name, part in (
        ("atoms and threads", atoms_and_threads),
        ("energy, forces, stress", properties),
        ("neighbor lists in dynamics at 300 K", rebuilds),
        ("cutoffs, random weights", cutoffs),
    ):
        if rows := part(args):
            report[name] = rows
            lines(name, rows)
    rows = [row for row in report["atoms and threads"] if row["threads"] == 1]
    for name in args.evaluations:
        if len(own := [row for row in rows if row["evaluation"] == name]) > 1:
            report[f"trend, {name}"] = [trend(own)]
            lines(f"trend at one thread, {name}", [trend(own)])
    return report


def atoms_and_threads(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the cost of a step for all numbers of atoms and threads."""
    return [
        {"evaluation": name} | fresh(step_cost, name, atoms, threads, args.seconds)
        for name in args.evaluations
        for threads in args.threads
        for atoms in args.atoms
        if name == "compiled" or atoms <= EAGER_LARGEST
    ]


def properties(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the costs of energy, forces and stress."""
    return [
        {"evaluation": name} | fresh(property_cost, name, atoms, args.repeats)
        for name in args.evaluations
        for atoms in _moderate(args)
    ]


def rebuilds(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the shares of neighbor lists, of the first evaluation."""
    name = args.evaluations[0]
    return [
        {"evaluation": name} | fresh(rebuild_cost, name, atoms, args.md_steps)
        for atoms in _moderate(args)
        if args.md_steps
    ]


def cutoffs(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the cost of a step against the cutoff."""
    atoms = _moderate(args)[-1]
    with tempfile.TemporaryDirectory() as folder:
        models = {cutoff: cutoff_model(cutoff, folder) for cutoff in args.cutoffs}
        return [
            {"evaluation": name, "cutoff": cutoff}
            | fresh(step_cost, name, atoms, 1, args.seconds, model)
            for name in args.evaluations
            for cutoff, model in models.items()
        ]


def _moderate(args: argparse.Namespace) -> list[int]:
    return [atoms for atoms in args.atoms if atoms <= 2000] or args.atoms[:1]


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--atoms", nargs="+", type=int, default=[192, 1000, 3000, 10_000, 30_000])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--cutoffs", nargs="*", type=float, default=[4.0, 4.5, 5.0, 5.5, 6.0])
    parser.add_argument("--evaluations", nargs="+", choices=EVALUATIONS, default=EVALUATIONS)
    parser.add_argument("--large", type=int, metavar="N", help="only a system of so many atoms")
    parser.add_argument("--seconds", type=float, default=2.0, help="for the steps of one figure")
    parser.add_argument("--repeats", type=int, default=20, help="of energy, forces, stress")
    parser.add_argument("--md-steps", type=int, default=300)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.large:
        row = fresh(step_cost, "compiled", args.large, args.threads[0], args.seconds)
        row["peak_kB_per_atom"] = 1024 * row["peak_MB"] / row["atoms"]
        lines("large", [row])
        report = {"machine": machine(), "large": row}
    else:
        report = measure(args)
    if args.out:
        args.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
