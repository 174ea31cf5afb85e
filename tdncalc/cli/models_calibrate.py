"""``tdn models calibrate``: give a model its novelty and its bounds."""

from pathlib import Path
from typing import Any

import click

from tdncalc.cards import require_own
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.options import ReportOptions, device_option, report_options, threads_option
from tdncalc.cli.outputs import print_json
from tdncalc.cli.progress import Progress
from tdncalc.wording import counted


@click.command("calibrate")
@click.argument("model", metavar="PATH")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "--held-out",
    multiple=True,
    metavar="FILE",
    help="Structures that it was not trained on, to measure the novelty on; repeatable.",
)
@device_option
@threads_option
@report_options
def calibrate_model(
    model: str,
    data: tuple[str, ...],
    held_out: tuple[str, ...],
    device: str,
    threads: int | None,
    report: ReportOptions,
) -> ExitCode:
    """Fit a model's novelty, how unlike its training set a structure is.

    DATA are the structures that it was trained on, as for tdn evaluate. The model's folder gets
    novelty.safetensors, and its card says how it was made. The weights get bounds: the lowest
    energy of an atom of each element, and how much one gathers from its neighbors at most. tdn
    train does this at its end.
    """
    require_own(model, "calibrate")
    # Imported here: they are heavy.
    import torch

    from tdncalc.training.calibration import calibrate
    from tdncalc.training.data import load_frames

    if threads is not None:
        torch.set_num_threads(threads)
    frames = load_frames(data, Path())
    others = load_frames(held_out, Path()) if held_out else None
    with Progress("calibrate", None, quiet=report.quiet, unit="structures") as progress:
        facts = calibrate(
            model,
            frames,
            others,
            device=device,
            observer=lambda done, total: progress.show(done, f"of {total}"),
        )
    if report.as_json:
        print_json({"command": "calibrate", "model": model, **facts})
    else:
        click.echo(f"{model}: {_sentence(facts)}")
    return ExitCode.DONE


def _sentence(facts: dict[str, Any]) -> str:
    text = (
        f"novelty of {counted(facts['structures'], 'structure')}, {counted(facts['atoms'], 'atom')}"
    )
    if "held_out" not in facts:
        return text
    held = facts["held_out"]
    text += (
        f"; of {counted(held['structures'], 'held-out structure')} {held['above_1']:.1%} above 1"
    )
    if held["spearman"] is None or held["spearman_atoms"] is None:
        return text
    return (
        f"{text}, rank correlation with the force error {held['spearman']:.2f} "
        f"(atoms {held['spearman_atoms']:.2f})"
    )
