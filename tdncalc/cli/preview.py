"""``--dry-run``: what would be done, and what it would take, from a few measured evaluations."""

import resource
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tdncalc.cli.outputs import print_json
from tdncalc.cli.progress import duration
from tdncalc.cli.session import Session, await_kernel, naming
from tdncalc.structures import Source, check_elements
from tdncalc.wording import counted

if TYPE_CHECKING:
    from tdncalc.calculator import TDNCalculator
    from tdncalc.potential import Potential


_WARM_UP, _FEWEST = 2, 3
_MEASURING = 1.0  # s


def preview(
    sources: Sequence[Source],
    model: Session,
    *,
    evaluations: int,
    as_json: bool,
    at_most: bool = False,
) -> None:
    """Print what a run of these structures would take.

    Parameters
    ----------
    sources
        At least one structure.
    model
        It evaluates the largest structure, by its kernel if that can be had.
    evaluations
        Of each structure.
    as_json
        Whether to print JSON.
    at_most
        Whether fewer evaluations may do.
    """
    described = [_describe(source, model.potential) for source in sources]
    largest = max(range(len(sources)), key=lambda i: int(described[i]["edges"]))
    await_kernel(model.potential)  # the run will have the kernel that is measured
    _add_novelty(described, sources, model.potential)
    with naming(sources[largest].label):
        seconds = _time_one(sources[largest], model.calculator)
    sizes = [structure["edges"] + structure["atoms"] for structure in described]
    evaluation = seconds * sum(sizes) / sizes[largest]
    facts = {
        "dry_run": True,
        "structures": described,
        **model.facts(),
        "estimate": {
            "seconds_per_evaluation": evaluation,
            "evaluations": evaluations,
            "seconds": evaluation * evaluations,
            "at_most": at_most,
            "memory_MB": round(_memory_MB(model.potential)),
        },
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _describe(source: Source, potential: "Potential") -> dict[str, Any]:
    # Imported here: with its library comes torch.
    from tdncalc.geometry.neighbors import neighbor_list

    atoms = source.atoms
    check_elements(atoms.numbers, potential.elements, potential.name, source.label)
    edges, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, potential.cutoff)
    return {
        "input": source.label,
        "atoms": len(atoms),
        "formula": atoms.get_chemical_formula(),
        "edges": edges.shape[1],
        "neighbors": round(edges.shape[1] / len(atoms), 1),
    }


def _add_novelty(
    described: list[dict[str, Any]], sources: Sequence[Source], potential: "Potential"
) -> None:
    """Say of each structure how unlike the training set it is, where the model can tell."""
    if potential.novelty is None:
        return
    found = potential.evaluate([s.atoms for s in sources], properties=("novelty",))
    for structure, results in zip(described, found, strict=True):
        structure["novelty"] = results["novelty"]


def _time_one(source: Source, calculator: "TDNCalculator") -> float:
    """Measure an evaluation of forces in seconds, warm.

    The mean over a while and no median: what other programs take of a busy machine counts.
    """
    atoms = source.atoms.copy()
    atoms.calc = calculator
    for _ in range(_WARM_UP):
        atoms.rattle(1e-3)
        atoms.get_forces()
    began, count = time.perf_counter(), 0
    while count < _FEWEST or time.perf_counter() - began < _MEASURING:
        count += 1
        atoms.rattle(1e-3, seed=count)
        atoms.get_forces()
    return (time.perf_counter() - began) / count


def _memory_MB(potential: "Potential") -> float:  # noqa: N802
    """Give the memory that the evaluation needed, on the device that ran it."""
    if potential.device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(potential.device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _print(facts: dict[str, Any]) -> None:
    for structure in facts["structures"]:
        novelty = f", novelty {structure['novelty']:.2f}" if "novelty" in structure else ""
        click.echo(
            f"{structure['input']}: {counted(structure['atoms'], 'atom')} "
            f"({structure['formula']}), "
            f"{structure['neighbors']} neighbors each{novelty}"
        )
    model, estimate = facts["model"], facts["estimate"]
    dispersion = f" with {model['dispersion']}" if "dispersion" in model else ""
    click.echo(
        f"model {model['name']} ({model['sha256'][:12]}){dispersion}, {facts['device']}, "
        f"{facts['dtype']}, {counted(facts['threads'], 'thread')}"
    )
    once = duration(estimate["seconds_per_evaluation"])
    click.echo(f"one evaluation {once}{_times(estimate)}; memory {estimate['memory_MB']} MB")
    click.echo("Dry run: nothing was computed or written.")


def _times(estimate: dict[str, Any]) -> str:
    if estimate["evaluations"] == 1:
        return ""
    at_most = "at most " if estimate["at_most"] else ""
    times = f"{at_most}{estimate['evaluations']} times"
    return f", {times}: {at_most}{duration(estimate['seconds'])}"
