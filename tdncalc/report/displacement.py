"""How far atoms go: mean squared displacement, and self-diffusion where it is linear in time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.constraints import FixBondLengths, FixCom, FixInternals, FixLinearTriatomic

from tdncalc.report import analysis
from tdncalc.report.run import Floats, Run
from tdncalc.structures.bonds import Bonds, connected

# Of the simulated time: before, atoms rattle in their cages; behind, few time origins are left.
_FIT_FROM, _FIT_TO = 0.1, 0.5
_ROUNDING = 1e-6
_FEWEST = 10  # lags of a fit
_EXPONENTS = (0.8, 1.2)  # of the time: 2 of free flight, 0 of a crystal
_SHORTEST = 1.0  # Å²: atoms that go less have not left their places
_LARGEST_ERROR = 0.25  # of the coefficient
_ATOMS_MOVE = (FixBondLengths, FixCom, FixInternals, FixLinearTriatomic)


@dataclass(frozen=True)
class Diffusion:
    """The self-diffusion of an element.

    Attributes
    ----------
    symbol
        The element.
    coefficient
        A sixth of the slope of its mean squared displacement, Å²/ps.
    error
        Its standard error, from the scatter over molecules or atoms, Å²/ps.
    """

    symbol: str
    coefficient: float
    error: float


@dataclass(frozen=True)
class Displacement:
    """How far the atoms of a run go, about their center of mass.

    Attributes
    ----------
    lags
        Times between two frames, ps, (L,).
    squares
        Mean squared displacements by element, Å², (L,) each.
    fit
        The first and last lag of the fits, ps.
    diffusion
        Of the elements whose displacement is linear there; empty where none is, or where atoms are
        held or the temperature moves.
    has_friction
        Whether Langevin's friction slowed them.
    """

    lags: Floats
    squares: dict[str, Floats]
    fit: tuple[float, float]
    diffusion: list[Diffusion]
    has_friction: bool


def displacement(run: Run) -> Displacement | None:
    """Measure the displacements of dynamics that are periodic in three directions.

    Returns
    -------
    Displacement or None
        None of another run, and where the frames are too few or not at equal intervals.
    """
    times = run.columns.get("time_fs")
    periodic = bool(run.frames) and bool(run.frames[0].pbc.all())
    if run.kind != "md" or not periodic or times is None or len(run.rows) < 3:
        return None
    x = times[run.rows] / 1000
    # the average over origins takes equal intervals; the last one may be shorter
    n = len(x) if np.isclose(x[-1] - x[-2], x[1] - x[0], rtol=1e-3) else len(x) - 1
    x = x[:n]
    if n < 3 or not np.allclose(np.diff(x), x[1] - x[0], rtol=1e-3):
        return None
    half = n // 2 + 1  # beyond, too few pairs of frames are left to average over
    lags = x[:half] - x[0]
    share = lags / (x[-1] - x[0])
    fitted = (share > _FIT_FROM - _ROUNDING) & (share < _FIT_TO + _ROUNDING)
    positions = free_paths(run)[:n]
    squares, diffusion = {}, []
    symbols = np.array(run.frames[0].get_chemical_symbols())
    moving_together = _molecules(run, positions)
    for symbol in map(str, sorted(set(symbols))):
        own = symbols == symbol
        of_atoms = analysis.squared_displacements(positions[:, own])[:half]
        squares[symbol] = of_atoms.mean(axis=1)
        found = self_diffusion(symbol, lags[fitted], of_atoms[fitted], moving_together[own])
        if found is not None and _is_steady(run):
            diffusion.append(found)
    ends = float(lags[fitted][0]), float(lags[fitted][-1])
    has_friction = _settings(run).get("ensemble") == "nvt-langevin"
    return Displacement(lags, squares, ends, diffusion, has_friction)


def free_paths(run: Run) -> Floats:
    """Return positions (F, N, 3) without periodic jumps and without drift of the whole."""
    paths = run.unwrapped
    if paths is None:
        paths = np.array([atoms.positions for atoms in run.frames])
    return analysis.without_drift(paths, run.frames[0].get_masses())


def self_diffusion(
    symbol: str, lags: Floats, squares: Floats, molecules: np.ndarray
) -> Diffusion | None:
    """Fit D = (1/6) d⟨|r(t) − r(0)|²⟩/dt (A. Einstein, Ann. Phys. 322, 549 (1905)).

    Atoms of one molecule go the same way: what scatters, and tells the error, are molecules.

    Parameters
    ----------
    symbol
        The element.
    lags
        Times, ps, (L,).
    squares
        Squared displacements of each atom averaged over time origins, Å², (L, N).
    molecules
        The number of the molecule that each atom stays in, (N,).

    Returns
    -------
    Diffusion or None
        None where the mean does not grow linearly, atoms have not left their places, or molecules
        are too few for a coefficient that is better known than to a quarter.
    """
    members = np.unique(molecules, return_inverse=True)[1]
    count = members.max(initial=-1) + 1
    if len(lags) < _FEWEST or count < 2:
        return None
    mean = squares.mean(axis=1)
    if mean[-1] < _SHORTEST or mean.min() <= 0 or not _grows_linearly(lags, mean):
        return None
    centered = lags - lags.mean()
    of_atoms = centered @ squares / (centered**2).sum() / 6
    coefficient = float(of_atoms.mean())
    of_molecules = np.bincount(members, weights=of_atoms - coefficient)
    error = float(np.sqrt((of_molecules**2).sum() * count / (count - 1)) / len(of_atoms))
    return Diffusion(symbol, coefficient, error) if error < _LARGEST_ERROR * coefficient else None


def _molecules(run: Run, positions: Floats) -> np.ndarray:
    """Return the molecule of each atom, (N,), by the bonds of the first frame that last."""
    first, last = run.frames[0].copy(), run.frames[len(positions) - 1]
    first.positions = positions[0]
    bonds = Bonds(first)
    lasting = bonds.lengths(positions[-1], last.cell.array) < bonds.longest
    return connected(len(first), bonds.i[lasting], bonds.j[lasting])


def _grows_linearly(lags: Floats, mean: Floats) -> bool:
    """Tell whether the exponent of t^n is near 1."""
    exponent = np.polyfit(np.log(lags), np.log(mean), 1)[0]
    return bool(_EXPONENTS[0] <= exponent <= _EXPONENTS[1])


def _is_steady(run: Run) -> bool:
    """Tell whether all atoms may move, and the temperature is not led from one to another."""
    ramped = isinstance(_settings(run).get("temperature_K"), str)
    return not ramped and all(isinstance(c, _ATOMS_MOVE) for c in run.frames[0].constraints)


def _settings(run: Run) -> dict[str, Any]:
    settings: dict[str, Any] = run.summary.get("settings", {})
    return settings


def in_cm2_per_s(coefficient: float, digits: int = 3) -> str:
    """Write Å²/ps, which are 10⁻⁴ cm²/s, in units of 10⁻⁵ cm²/s."""
    return f"{10 * coefficient:.{digits}g}"
