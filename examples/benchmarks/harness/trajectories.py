"""A run of molecular dynamics whose files nobody keeps."""

import tempfile
from pathlib import Path

from ase import Atoms
from ase.io import read

from tdncalc import MDFiles, MDResult, MDSettings, TDNCalculator, run_md

__all__ = ["run"]


def run(
    atoms: Atoms, calculator: TDNCalculator, settings: MDSettings
) -> tuple[MDResult, list[Atoms]]:
    """Run, and return how it ended and the frames of its trajectory."""
    with tempfile.TemporaryDirectory() as folder:
        files = MDFiles(*(Path(folder) / f"run.{kind}" for kind in ("traj", "csv", "checkpoint")))
        result = run_md(atoms, settings=settings, calculator=calculator, files=files)
        return result, read(f"{files.trajectory}", ":")
