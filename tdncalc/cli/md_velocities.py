"""What ``tdn md`` says of the velocities that a file has."""

from tdncalc.cli import session
from tdncalc.cli.failures import say
from tdncalc.cli.options import ReportOptions
from tdncalc.errors import OptionError
from tdncalc.structures import Source
from tdncalc.workflows.ensembles import kept_temperature
from tdncalc.workflows.md_settings import MDSettings


def refuse_identical(source: Source, settings: MDSettings, count: int) -> None:
    """Refuse replicas whose seeds would change nothing.

    Raises
    ------
    OptionError
        The file has velocities, and the ensemble no random numbers.
    """
    with session.naming(source.label):
        kelvin = kept_temperature(source.atoms, settings)
    if kelvin is not None and not settings.random:
        raise OptionError(
            f"--replicas {count}: all would be the same, as {source.label} has velocities and "
            f"{settings.ensemble} no random numbers; choose nvt-langevin or nvt-bussi, or drop the "
            f"velocities by 'tdn convert {source.label} -o start.xsf'"
        )


def tell(source: Source, settings: MDSettings, report: ReportOptions) -> None:
    """Say on standard error that a run begins with the velocities of its file, if it does."""
    if report.quiet:
        return
    with session.naming(source.label):
        kelvin = kept_temperature(source.atoms, settings)
    if kelvin is not None:
        say(f"velocities are those of {source.label}, {kelvin:.0f} K")
