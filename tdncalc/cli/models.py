"""``tdn models``: what is bundled, whether it is intact, and models made of checkpoints."""

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from tdncalc.cli.failures import ExitCode, complain
from tdncalc.cli.models_calibrate import calibrate_model
from tdncalc.cli.models_import import import_model
from tdncalc.cli.options import ReportOptions, report_options
from tdncalc.cli.outputs import print_json
from tdncalc.errors import DamagedModelError, ModelNotFoundError
from tdncalc.wording import counted


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> ExitCode | None:
    """Tell what models are bundled and whether they are intact; import others.

    Without a command it lists them.
    """
    if ctx.invoked_subcommand is None:
        return ExitCode(ctx.invoke(list_models))
    return None


command.add_command(import_model)
command.add_command(calibrate_model)


@command.command("list")
@report_options
def list_models(report: ReportOptions) -> ExitCode:
    """List the bundled models: elements, theory, cutoff, errors, licence, checksum."""
    from tdncalc.cards import bundled_models, read_card

    cards = [read_card(name) for name in bundled_models()]
    if report.as_json:
        print_json({"models": cards})
        return ExitCode.DONE
    for card in cards:
        click.echo(card["name"])
        with _reading(card):
            summary = _summary(card)
        for title, text in summary.items():
            click.echo(f"  {title:9} {text}")
    return ExitCode.DONE


@command.command("show")
@click.argument("name")
@report_options
def show(name: str, report: ReportOptions) -> ExitCode:
    """Show all that is known of a model, bundled or in a folder."""
    from tdncalc.cards import read_card

    card = read_card(name)
    if report.as_json:
        print_json(card)
        return ExitCode.DONE
    _print_entries(card, indent=0)
    if "novelty" not in card:
        click.echo(f"novelty: {_novelty(card)}")
    return ExitCode.DONE


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME|PATH]...")
@report_options
def verify(names: tuple[str, ...], report: ReportOptions) -> ExitCode:
    """Check that models load and that their weights are those of their cards (default: all)."""
    from tdncalc import checkpoint

    results: list[dict[str, Any]] = []
    for name in names or checkpoint.bundled_models():
        try:
            checkpoint.verify(name)
        except (DamagedModelError, ModelNotFoundError) as error:
            complain(str(error))
            results.append({"model": name, "intact": False, "error": str(error)})
            continue
        sha256 = checkpoint.read_card(name)["sha256"]
        results.append({"model": name, "intact": True, "sha256": sha256})
        if not report.as_json:
            click.echo(f"{name}: intact, sha256 {sha256}")
    if report.as_json:
        print_json({"models": results})
    return ExitCode.DONE if all(model["intact"] for model in results) else ExitCode.ERROR


@contextlib.contextmanager
def _reading(card: dict[str, Any]) -> Iterator[None]:
    """Tell of a card whose figures are not where this version has them."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedModelError(
            f"model '{card['name']}': the figures of its card are not as this version writes them "
            f"({type(error).__name__}: {error}); --json shows the card as it is"
        ) from error


def _summary(card: dict[str, Any]) -> dict[str, str]:
    """Give what a user chooses a model by, without what its card leaves open."""
    facts = {
        "about": card.get("description"),
        "elements": " ".join(card["elements"]),
        "theory": card.get("theory"),
        "cutoff": f"{card.get('cutoff_A', card['config']['cutoff'])} Å",
        "errors": _errors(card),
        "novelty": _novelty(card),
        "licence": card.get("licence"),
        "sha256": card["sha256"],
    }
    return {title: str(text) for title, text in facts.items() if text}


def _errors(card: dict[str, Any]) -> str | None:
    """Give the mean absolute errors on the largest test set, else on validation data."""
    tests = [(name, test) for name, test in card.get("errors", {}).items() if "test" in name]
    if tests:
        name, test = max(tests, key=lambda item: item[1]["structures"])
        energy, forces = test["energy_MAE_meV_per_atom"], test["forces_MAE_meV_per_A"]
        data = f"{counted(test['structures'], 'structure')} of {name!r}"
    elif row := card.get("validation"):
        energy, forces = row["valid_energy_meV_per_atom"], row["valid_forces_meV_per_A"]
        data = "validation data"
    else:
        return None
    return f"{energy:.2f} meV/atom, {forces:.1f} meV/Å (mean absolute, {data})"


def _novelty(card: dict[str, Any]) -> str:
    """Tell whether the model can say how unlike its training set a structure is."""
    if "novelty" not in card:
        return "none: it does not tell what is unlike its training set; 'tdn models calibrate'"
    rank = card["novelty"].get("held_out", {}).get("spearman")
    ranks = "" if rank is None else f"; ranks force errors with {rank:.2f}"
    return f"1 at {card['novelty']['quantile']:.1%} of the training set's environments{ranks}"


def _print_entries(entries: dict[str, Any], *, indent: int) -> None:
    """Print a card as indented lines."""
    for name, value in entries.items():
        key = name or "unnamed"  # the set of a training with one alone
        if isinstance(value, dict):
            click.echo(f"{'':{indent}}{key}:")
            _print_entries(value, indent=indent + 2)
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{'':{indent}}{key}:")
            for row in value:
                click.echo(f"{'':{indent + 2}}{', '.join(map(_short, row.values()))}")
            continue
        text = " ".join(map(_short, value)) if isinstance(value, list) else _short(value)
        click.echo(f"{'':{indent}}{key}: {text}")


def _short(value: object) -> str:
    """Give four digits of a measured figure; --json has all."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
