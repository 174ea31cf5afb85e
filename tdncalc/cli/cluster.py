"""The option that spreads structures over a cluster, and the model that its workers load."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdncalc.cli.options import ModelOptions

if TYPE_CHECKING:
    from tdncalc.potential import Potential
    from tdncalc.workflows.many.cluster import WorkerModel

dask_option = click.option(
    "--dask", metavar="ADDRESS", help="Compute on the Dask cluster of this scheduler or its file."
)


def worker_model(options: ModelOptions, potential: "Potential") -> "WorkerModel":
    """Say what every worker loads: what the options name, and the same as here."""
    # Imported here, after every check that needs no model: torch takes seconds.
    from tdncalc.workflows.many.cluster import WorkerModel

    folder = Path(options.model)
    return WorkerModel(
        model=str(folder.absolute()) if folder.is_dir() else options.model,
        device=options.device,
        dtype=options.dtype,
        evaluation=options.evaluation,
        product=options.product,
        dispersion=options.dispersion,
        sha256=potential.card["sha256"],
    )
