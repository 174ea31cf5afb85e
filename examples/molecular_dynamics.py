"""Run molecular dynamics of a molecule and plot its temperature and energy."""

from pathlib import Path

import numpy as np
from ase.io import read
from matplotlib.figure import Figure

from tdncalc import MDFiles, MDSettings, run_md

atoms = read(Path(__file__).parent / "ethanol.xyz")
settings = MDSettings(
    steps=1000,
    timestep_fs=0.5,
    ensemble="nvt-bussi",
    temperature_K=300,
    thermostat_time_fs=20,  # strong: the run starts at a minimum of the potential energy
    interval=10,
)
files = MDFiles(
    trajectory=Path("ethanol-md.traj"),
    csv=Path("ethanol-md.csv"),
    checkpoint=Path("ethanol-md.checkpoint"),
)
result = run_md(atoms, settings=settings, files=files)
print(f"{result.reason}: {result.steps} steps, {result.ns_per_day:.2f} ns/day")
print(f"mean temperature: {result.temperature_K:.0f} K")

rows = np.genfromtxt("ethanol-md.csv", delimiter=",", names=True)
figure = Figure(figsize=(6, 5), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True)
above.plot(rows["time_fs"], rows["temperature_K"])
above.set_ylabel("temperature (K)")
for column in ("potential_eV", "total_eV"):
    below.plot(rows["time_fs"], rows[column] - rows["total_eV"][0], label=column)
below.set(xlabel="time (fs)", ylabel="energy (eV)")
below.legend()
figure.savefig("ethanol-md.png", dpi=150)
