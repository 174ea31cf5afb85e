"""Self-diffusion and density of dynamics, against random walks and figures known otherwise."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths
from ase.io import read
from ase.io.trajectory import Trajectory

from tdncalc.report import read_runs
from tdncalc.report.analysis import squared_displacements
from tdncalc.report.displacement import displacement, self_diffusion
from tdncalc.report.facts import outcome
from tdncalc.report.plots import series, structural

LIQUID = Path(__file__).parents[2] / "examples/water.extxyz"
INTERVAL = 0.02  # ps
ELEMENTS = {"Ar": (60, 0.30), "Ne": (120, 0.45)}  # how many, and their steps in Å along each axis


def write_run(paths, symbols, edge, *, constraint=None, **settings):
    """Leave a run as ``tdn md`` does, of atoms on these paths (F, N, 3), wrapped into a box."""
    with Trajectory("x-md.traj", "w") as file:
        for positions in paths:
            atoms = Atoms(symbols, positions, cell=[edge] * 3, pbc=True, constraint=constraint)
            atoms.wrap()
            file.write(atoms)
    rows = [f"{10 * k},{1000 * INTERVAL * k}\n" for k in range(len(paths))]
    Path("x-md.csv").write_text("step,time_fs\n" + "".join(rows))
    Path("x-md.json").write_text(json.dumps({"settings": settings}))


def walk(n_frames=600, seed=1):
    """Return paths of atoms that step at random and drift together, and their symbols."""
    rng = np.random.default_rng(seed)
    symbols = [symbol for symbol, (count, _) in ELEMENTS.items() for _ in range(count)]
    scales = np.array([ELEMENTS[symbol][1] for symbol in symbols])[:, None]
    steps = scales * rng.normal(size=(n_frames, len(symbols), 3)) + [0.1, 0, 0]
    return rng.uniform(0, 9, (len(symbols), 3)) + np.cumsum(steps, axis=0), symbols


def analytic(symbols):
    """Return D of each element about the center of mass, Å²/ps.

    Of x_i − Σ m_j x_j / M: D_i (1 − 2 m_i / M) + Σ m_j² D_j / M², with D = σ² / 2 dt.
    """
    masses = Atoms(symbols).get_masses()
    free = np.array([ELEMENTS[symbol][1] ** 2 / (2 * INTERVAL) for symbol in symbols])
    total = masses.sum()
    about = free * (1 - 2 * masses / total) + (masses**2 * free).sum() / total**2
    return dict(zip(symbols, about, strict=True))


def found_in(run):
    return {one.symbol: one for one in displacement(run).diffusion}


@pytest.mark.parametrize("at_most", [2000, 100])
def test_diffusion_of_a_random_walk_is_that_of_its_steps(at_most, folder):
    paths, symbols = walk()
    write_run(paths, symbols, edge=9.0)
    (run,) = read_runs(["x-md"], max_frames=at_most)
    found = found_in(run)
    assert list(found) == ["Ar", "Ne"]
    for symbol, expected in analytic(symbols).items():
        one = found[symbol]
        assert abs(one.coefficient - expected) < 3 * one.error
        assert one.error < 0.15 * expected
    assert found["Ne"].coefficient > 1.5 * found["Ar"].coefficient


@pytest.mark.parametrize("size", [1, 3])
def test_error_is_the_scatter_of_the_coefficient_of_molecules(size):
    lags = np.arange(1, 51) * INTERVAL
    rng = np.random.default_rng(2)
    molecules = np.repeat(np.arange(7, 47), size)
    off = []
    for _ in range(300):
        slopes = 6 * rng.gamma(4.0, size=40).repeat(size)  # mean 4, standard deviation 2
        one = self_diffusion("Ar", lags, lags[:, None] * slopes, molecules)
        off.append((one.coefficient - 4.0) / one.error)
        assert one.error == pytest.approx(2 / np.sqrt(40), rel=0.6)
    assert np.std(off) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("length", "stretch"), [(0.74, 1.0), (0.74, 9.0), (2.5, 1.0)])
def test_atoms_whose_bonds_last_are_one_molecule(length, stretch, folder):
    rng = np.random.default_rng(3)
    centers = rng.uniform(0, 12, (50, 3)) + np.cumsum(0.3 * rng.normal(size=(200, 50, 3)), axis=0)
    apart = np.linspace(length, stretch * length, 200)[:, None, None] * [0.0, 0.0, 1.0]
    paths = np.stack([centers, centers + apart], axis=2).reshape(200, 100, 3)
    write_run(paths, ["H"] * 100, edge=12.0)
    moved = displacement(read_runs(["x-md"])[0])
    molecule = np.repeat(np.arange(50), 2)
    last = length * stretch < 0.8
    alike = [molecule, np.arange(100)] if last else [np.arange(100)]
    errors = [error_of(moved, paths, labels) for labels in alike]
    assert moved.diffusion[0].error == pytest.approx(errors[0], rel=1e-6)
    if last:
        assert errors[0] == pytest.approx(np.sqrt(2) * errors[1], rel=0.02)


def error_of(moved, paths, labels):
    free = paths - paths.mean(axis=1, keepdims=True)
    lags, (start, end) = moved.lags, moved.fit
    fitted = (lags > start - 1e-9) & (lags < end + 1e-9)
    squares = squared_displacements(free)[: len(lags)][fitted]
    return self_diffusion("H", lags[fitted], squares, labels).error


def moving(exponent, size):
    """Return a displacement that grows with a power of time to its size, with some scatter."""
    lags = np.linspace(0.1, 0.5, 60)
    scatter = np.linspace(0.8, 1.2, 30)
    return lags, size * (2 * lags[:, None]) ** exponent * scatter


@pytest.mark.parametrize(
    ("exponent", "size", "given"),
    [(1.0, 5.0, True), (2.0, 5.0, False), (0.5, 5.0, False), (0.0, 5.0, False), (1.0, 0.5, False)],
    ids=["diffusion", "free flight", "cages", "crystal", "still at their places"],
)
def test_nothing_is_told_of_what_is_no_diffusion(exponent, size, given):
    assert (self_diffusion("Ar", *moving(exponent, size), np.arange(30)) is not None) is given


def test_nothing_is_told_of_few_atoms_or_few_lags():
    lags, squares = moving(1.0, 5.0)
    each = np.arange(30)
    assert self_diffusion("Ar", lags, squares[:, :0], each[:0]) is None
    assert self_diffusion("Ar", lags, squares[:, :1], each[:1]) is None
    assert self_diffusion("Ar", lags, squares, 0 * each) is None
    assert self_diffusion("Ar", lags[:5], squares[:5], each) is None
    assert self_diffusion("Ar", lags, squares * np.linspace(0, 9, 30) ** 6, each) is None


@pytest.mark.parametrize(
    ("constraint", "temperature", "given"),
    [
        (FixAtoms([0]), 300.0, False),
        (None, "300.0:600.0", False),
        (FixBondLengths([[0, 1]]), 300.0, True),
    ],
    ids=["held", "ramp", "bonds"],
)
def test_nothing_is_told_where_atoms_are_held_or_heated(constraint, temperature, given, folder):
    paths, symbols = walk(n_frames=100)
    write_run(paths, symbols, 9.0, constraint=constraint, temperature_K=temperature)
    (run,) = read_runs(["x-md"])
    assert bool(found_in(run)) is given


@pytest.mark.parametrize(("ensemble", "lowered"), [("nvt-langevin", True), ("nve", False)])
def test_the_plot_tells_coefficients_with_range_unit_and_caveat(ensemble, lowered, folder):
    paths, symbols = walk(n_frames=201)
    write_run(paths, symbols, 40.0, ensemble=ensemble)
    (run,) = read_runs(["x-md"])
    moved = displacement(run)
    (msd,) = [plot for plot in structural(run, moved) if plot["key"] == "msd"]
    neon = moved.diffusion[1].coefficient  # 1 Å²/ps is 10⁻⁴ cm²/s
    assert "from 0.4 to 2 ps" in msd["note"]
    assert f"Ne {10 * neon:.3g} ± " in msd["note"]
    assert "× 10⁻⁵ cm²/s. In a cell of finite size it is too small" in msd["note"]
    assert ("Langevin" in msd["note"]) is lowered
    (tile,) = [tile for tile in outcome(run, moved) if tile["label"] == "Self-diffusion"]
    assert tile["value"].endswith(f"Ne {10 * neon:.2g}")
    assert tile["unit"] == "× 10⁻⁵ cm²/s"


@pytest.fixture
def liquid(folder):
    """64 molecules of water in a cell that grows."""
    water = read(LIQUID)
    edges = np.linspace(12.3, 12.6, 11)
    with Trajectory("x-md.traj", "w") as file:
        for edge in edges:
            water.set_cell([edge] * 3, scale_atoms=True)
            file.write(water)
    rows = [f"{k},{k},{edge**3}\n" for k, edge in enumerate(edges)]
    Path("x-md.csv").write_text("step,time_fs,volume_A3\n" + "".join(rows))
    return 64 * 18.015 / 6.02214076e23 / (edges**3 * 1e-24)


def test_density_of_a_cell_that_changes_is_shown_with_its_mean(liquid):
    (run,) = read_runs(["x-md"])
    (line,) = [line for line in series(run)["lines"] if line["key"] == "density_g_per_cm3"]
    assert line["values"] == pytest.approx(liquid, rel=1e-4)
    assert (line["title"], line["unit"]) == ("Density", "g/cm³")
    assert line["note"] == f"Mean {liquid.mean():.4g} g/cm³."
    (tile,) = [tile for tile in outcome(run, None) if tile["label"] == "Mean density"]
    assert tile["value"] == f"{liquid.mean():.3f}"


def test_density_of_a_cell_that_does_not_change_is_not_shown(liquid):
    lines = Path("x-md.csv").read_text().splitlines()
    rows = [line.rpartition(",")[0] + ",1900.0" for line in lines[1:]]
    Path("x-md.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    (run,) = read_runs(["x-md"])
    assert not any("density" in name for name in run.columns)
