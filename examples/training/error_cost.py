"""Draw errors against the time of a step of dynamics, from `error_cost.csv`.

Filled: trained for minutes of one CPU thread from random weights, with the same data, loss and
schedule. Open: bundled models. Times are those of `md_step.py` in examples/benchmarks, aspirin's 21
atoms on one thread, but of the published network, of `published_speed.py` there::

    python examples/training/error_cost.py
"""

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

FOLDER = Path(__file__).parent
FORCES = "forces_meV_per_A"
ENERGIES = "energy_meV_per_atom"
OURS = ("organic", "organic-small", "organic-large", "tdncalc, 3 layers of 96")
MARKERS = "osDv^PX*"


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows: network, trained ("ten minutes", or "bundled"), step_ms and both errors."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw forces' errors on the left and energies' on the right."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    labels = {FORCES: "forces, MAE (meV/Å)", ENERGIES: "energies, MAE (meV/atom)"}
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        for index, row in enumerate(rows):
            new = row["trained"] != "bundled"
            color = "C3" if row["network"] in OURS else "0.35"
            axes.plot(
                float(row["step_ms"]),
                float(row[column]),
                MARKERS[index],
                label=row["network"],
                color=color,
                markerfacecolor=color if new else "white",
                markersize=8,
                linestyle="none",
            )
        axes.set(xscale="log", yscale="log", xlabel="step of 21 atoms, one CPU thread (ms)")
        axes.set_ylabel(label)
        axes.margins(0.1)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", alpha=0.3)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the file beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=FOLDER / "error_cost.csv")
    parser.add_argument("--output", type=Path, default=FOLDER / "error_cost.png")
    options = parser.parse_args()
    draw(read(options.rows), options.output)


if __name__ == "__main__":
    main()
