"""``tdn train``: make a model from reference data."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc.cli.failures import ExitCode
from tdncalc.cli.options import ReportOptions, device_option, report_options
from tdncalc.cli.outputs import print_json
from tdncalc.cli.progress import Progress
from tdncalc.cli.signals import stop_on_signals
from tdncalc.wording import counted

if TYPE_CHECKING:
    from tdncalc.training import loop
    from tdncalc.training.config import TrainConfig


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run [default: the configuration's name without .yaml].",
)
@click.option(
    "--from",
    "start",
    metavar="NAME|PATH",
    help="Model to go on from, other than the configuration says.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@device_option
@report_options
def command(
    config: Path,
    run_dir: Path | None,
    start: str | None,
    resume: bool,
    device: str,
    report: ReportOptions,
) -> ExitCode:
    """Train a model on reference data.

    The folder of the run gets its checkpoints, log.csv, learning_curve.png and the best model so
    far in model/, which every command takes as --model.
    """
    from tdncalc.checkpoint import find_device
    from tdncalc.training.config import load_config
    from tdncalc.training.loop import train
    from tdncalc.training.processes import process_rank

    settings = load_config(config, start)
    folder = run_dir or Path(config.stem)
    speaks = process_rank() == 0  # the first of several processes
    with (
        stop_on_signals() as stop,
        Progress(
            settings.name, settings.optimizer.steps, quiet=report.quiet or not speaks
        ) as progress,
    ):
        result = train(
            settings,
            run_dir=folder,
            resume=resume,
            device=find_device(device),
            observer=_observer(progress),
            stop=stop,
        )
    if speaks:
        _report(settings, result, as_json=report.as_json)
    return ExitCode.DONE if result.reason == "done" else ExitCode.INTERRUPTED


def _report(settings: "TrainConfig", result: "loop.TrainResult", *, as_json: bool) -> None:
    name, levels = settings.name, settings.data.levels()
    if as_json:
        print_json(_record(result) | {"levels": levels})
    else:
        steps = counted(result.step, "step")
        rate = f"{result.atoms_per_second:.0f} atoms/s"
        click.echo(f"{name}: {result.reason}, {steps}, {rate}, {_kept(result)}")
        if len(levels) > 1:
            click.echo(f"{name}: {_about_levels(*levels)}")


def _kept(result: "loop.TrainResult") -> str:
    """Say which model there is, and its errors."""
    if result.validation is None:
        return "not validated yet, so there is no model; go on with --resume"
    return f"{_errors(result.validation)}; {result.model}"


def _about_levels(own: str, *others: str) -> str:
    """Say of which set the model's energies are, and how the others' are compared with them."""
    whose = f"set {own!r}" if own else "the data to train on"
    names = " and ".join(map(repr, others))
    have = "has a level of its" if len(others) == 1 else "have levels of their"
    return f"energies are those of {whose}; {names} {have} own: tdn evaluate --level {others[-1]}"


def _observer(progress: Progress) -> "Callable[[loop.Progress], None]":
    def observe(now: "loop.Progress") -> None:
        text = f"{now.energy_error:.2f} meV/atom  {now.forces_error:.1f} meV/Å"
        if now.validation is not None:
            text += f"  (held out: {_errors(now.validation)})"
        progress.show(now.step, f"{text}  {now.atoms_per_second:.0f} atoms/s")

    return observe


def _errors(row: dict[str, float]) -> str:
    energy, forces = row["valid_energy_meV_per_atom"], row["valid_forces_meV_per_A"]
    return f"{energy:.2f} meV/atom, {forces:.1f} meV/Å"


def _record(result: "loop.TrainResult") -> dict[str, Any]:
    return {
        "command": "train",
        "reason": result.reason,
        "steps": result.step,
        "model": None if result.validation is None else str(result.model),
        "atoms_per_second": result.atoms_per_second,
        "validation": result.validation,
    }
