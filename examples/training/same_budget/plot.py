"""Draw errors after the same training budget against the time of a step of dynamics.

python plot.py results.json same_budget.png
"""

import json
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PANELS = (
    ("forces_MAE_meV_per_A", "force MAE (meV/Å)"),
    ("energy_MAE_meV_per_atom", "energy MAE (meV/atom)"),
)


def main() -> None:
    """Read the results and write the picture."""
    rows = json.loads(Path(sys.argv[1]).read_text())
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, label) in zip(figure.subplots(1, 2), PANELS, strict=True):
        for row in rows:
            own = row["network"].startswith("tdncalc")
            point = row["ms_per_step_21_atoms"], row[key]
            axes.plot(*point, "o", color="tab:red" if own else "tab:blue")
            axes.annotate(row["network"], point, xytext=(6, 4), textcoords="offset points")
        axes.set(xscale="log", yscale="log", ylabel=label)
        axes.set_xlabel("step of dynamics, 21 atoms (ms of one CPU thread)")
        axes.margins(x=0.35, y=0.15)
        axes.grid(alpha=0.3, which="both")
    figure.savefig(sys.argv[2], dpi=120)


if __name__ == "__main__":
    main()
