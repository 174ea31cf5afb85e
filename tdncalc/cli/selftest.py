"""``tdn selftest``: whether a model obeys physics on this machine, device and precision."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tdncalc.cli import session
from tdncalc.cli.failures import ExitCode
from tdncalc.cli.inputs import Inputs
from tdncalc.cli.options import ModelOptions, ReportOptions, model_options, report_options
from tdncalc.cli.outputs import print_json
from tdncalc.structures import check_elements

if TYPE_CHECKING:
    from tdncalc.selftest.checks import Check


_WHERE = ("device", "dtype", "evaluation")


@click.command("selftest")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@model_options
@report_options
def command(inputs: tuple[str, ...], model: ModelOptions, report: ReportOptions) -> ExitCode:
    """Check the physics of a model on this machine.

    Forces and stress against differences of the energy, rotation, reflection, translation,
    permutation, extensivity, smoothness at the cutoff, and cells so small that atoms see their own
    images; and the compiled kernel, where it evaluates, against PyTorch. On small awkward
    structures of the model's elements if no INPUT is given. The exit code is 1 if a check fails or
    an INPUT cannot be used.
    """
    reader = Inputs(inputs) if inputs else None
    sources = None if reader is None else list(reader)
    if sources == []:
        return ExitCode.ERROR
    loaded = session.begin(model)
    for source in sources or ():
        potential = loaded.potential
        check_elements(source.atoms.numbers, potential.elements, potential.name, source.label)
    from tdncalc.selftest.checks import selftest

    loaded.potential.settle(wait=False)  # one evaluation for all checks
    atoms = None if sources is None else [source.atoms for source in sources]
    checks = selftest(loaded.potential, atoms)
    passed = all(check.passed for check in checks)
    if report.as_json:
        rows = [check.to_dict() for check in checks]
        print_json({"command": "selftest", **loaded.facts(), "passed": passed, "checks": rows})
    else:
        _print(checks)
        facts = loaded.facts()
        outcome = f"{sum(not check.passed for check in checks)} of {len(checks)} checks failed"
        where = ", ".join((facts["model"]["name"], *(facts[key] for key in _WHERE)))
        click.echo(f"{where}: {f'all {len(checks)} checks passed' if passed else outcome}")
    complete = reader is None or not reader.failed
    return ExitCode.DONE if passed and complete else ExitCode.ERROR


def _print(checks: "Sequence[Check]") -> None:
    click.echo(f"{'check':28} {'largest':>9} {'limit':>9} {'unit':8} {'':6} structure")
    for check in checks:
        outcome = "ok" if check.passed else "FAILED"
        click.echo(
            f"{check.check:28} {check.value:9.2g} {check.limit:9.1g} {check.unit:8} {outcome:6} "
            f"{check.structure}"
        )
