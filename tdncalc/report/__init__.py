"""One HTML file of runs: structures in 3D, plots and provenance, without a network."""

from tdncalc.report.page import build_page
from tdncalc.report.reading import read_runs
from tdncalc.report.run import Run

__all__ = ["Run", "build_page", "read_runs"]
