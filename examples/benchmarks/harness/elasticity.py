"""Elastic constants of cubic crystals, from labeled structures and from a calculator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from ase.stress import voigt_6_to_full_3x3_stress

from tdncalc import RelaxSettings, relax

__all__ = ["Elasticity", "elastic_constants", "fit", "fit_energies", "lattice", "strain"]

CONSTANTS = ("pressure", "C11", "C12", "C44", "C111", "C112", "C123", "C144", "C155", "C456")
# A constant of which stress (energy density) has nowhere more than this part is taken as zero:
# third orders only where strains are larger than 1.5 %, else they fit the noise.
_STRESS_FELT, _ENERGY_FELT = 1e-4, 1e-6
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@dataclass(frozen=True)
class Elasticity:
    """Lattice constant in Å, bulk modulus and elastic constants in GPa, all at zero pressure."""

    a: float
    B: float
    C11: float
    C12: float
    C44: float


def _density(e: torch.Tensor) -> torch.Tensor:
    """Return (10,), what each constant adds to the elastic energy of a cubic crystal per volume.

    Second and third order in the Lagrangian strain e (6,), shears doubled: Brugger, Phys. Rev. 133,
    A1611 (1964).
    """
    x, y, z, u, v, w = e
    return torch.stack(
        [
            x + y + z,
            (x**2 + y**2 + z**2) / 2,
            x * y + y * z + z * x,
            (u**2 + v**2 + w**2) / 2,
            (x**3 + y**3 + z**3) / 6,
            (x**2 * (y + z) + y**2 * (z + x) + z**2 * (x + y)) / 2,
            x * y * z,
            (x * u**2 + y * v**2 + z * w**2) / 2,
            (x * (v**2 + w**2) + y * (w**2 + u**2) + z * (u**2 + v**2)) / 2,
            u * v * w,
        ]
    )


def strain(cell: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deformation F (3, 3), r = F r₀, and the Lagrangian strain (6,), shears doubled."""
    F = np.linalg.solve(reference, cell).T
    green = (F.T @ F - np.eye(3)) / 2
    return F, green[_VOIGT] * np.array([1, 1, 1, 2, 2, 2])


def _second_piola(stress: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Return |F| F⁻¹ σ F⁻ᵀ (6,), the derivative of the energy density by the strain."""
    inverse = np.linalg.inv(F)
    return (np.linalg.det(F) * inverse @ stress @ inverse.T)[_VOIGT]


def _small(
    strained: Sequence[Atoms], reference: float, largest: float
) -> Iterator[tuple[Atoms, np.ndarray, torch.Tensor]]:
    """Yield the crystals whose strain is within the limit, with deformation and strain."""
    for atoms in strained:
        repeats = np.round(atoms.get_volume() ** (1 / 3) / reference)
        F, e = strain(atoms.cell.array, np.eye(3) * repeats * reference)
        if np.abs(e).max() <= 2 * largest and np.abs(e[:3]).max() <= largest:
            yield atoms, F, torch.tensor(e)


def fit(strained: Sequence[Atoms], reference: float, largest: float = 0.05) -> Elasticity:
    """Fit elastic constants to the stress of strained perfect crystals.

    Parameters
    ----------
    strained
        Crystals with stress, atoms at their ideal places in the cell.
    reference
        Lattice constant in Å of the unstrained cubic crystal, its axes along x, y and z.
    largest
        Strains with larger components are left out: the fit is of third order.

    Returns
    -------
    Elasticity
        At the lattice constant where the fitted stress vanishes; ``a`` is that of `reference`,
        moved there.
    """
    rows, values = [], []
    for atoms, F, e in _small(strained, reference, largest):
        rows.append(torch.func.jacrev(_density)(e).numpy().T)
        values.append(_second_piola(voigt_6_to_full_3x3_stress(atoms.get_stress()), F))
    found = _solve(np.concatenate(rows), np.concatenate(values), _STRESS_FELT) / units.GPa
    constants = dict(zip(CONSTANTS, found, strict=True))
    return _relieved(reference, constants)


def fit_energies(
    strained: Sequence[Atoms], reference: float, bulk_modulus: float, largest: float = 0.05
) -> tuple[float, float, float]:
    """Fit lattice constant (Å), C11 and C44 (GPa) to the energies of strained perfect crystals.

    Arguments as of :func:`fit`; the bulk modulus in GPa turns the slope at `reference` into a
    lattice constant, as crystals stretched along one axis and sheared do not determine it. The
    elastic constants are those at `reference`.
    """
    rows, values = [], []
    for atoms, F, e in _small(strained, reference, largest):
        rows.append(np.append(_density(e).numpy(), 1.0))
        volume = atoms.get_volume() / np.linalg.det(F)
        values.append(atoms.get_potential_energy() / volume)
    centered = np.array(values) - np.mean(values)
    found = _solve(np.array(rows), centered, _ENERGY_FELT) / units.GPa
    slope, c11, _, c44 = found[:4]
    return reference * (1 - slope / (3 * bulk_modulus)), float(c11), float(c44)


def _solve(rows: np.ndarray, values: np.ndarray, least: float) -> np.ndarray:
    """Return the least squares solution, zero for columns that nowhere exceed a limit."""
    scales = np.abs(rows).max(0)
    felt = scales > least
    solution = np.zeros(rows.shape[1])
    solved = np.linalg.lstsq(rows[:, felt] / scales[felt], values, rcond=1e-6)[0]
    solution[felt] = solved / scales[felt]
    return solution


def _relieved(a: float, at: dict[str, float]) -> Elasticity:
    """Return the constants at zero pressure from those under a small stress, to first order.

    Zero stress lies at a linear strain s = −σ/3B, where Cijkl has changed by the third order, and
    by 1 + s because strain and volume are then measured from there.
    """
    bulk = (at["C11"] + 2 * at["C12"]) / 3
    s = -at["pressure"] / (3 * bulk)
    c11 = (1 + s) * (at["C11"] + s * (at["C111"] + 2 * at["C112"]))
    c12 = (1 + s) * (at["C12"] + s * (2 * at["C112"] + at["C123"]))
    c44 = (1 + s) * (at["C44"] + s * (at["C144"] + 2 * at["C155"]))
    return Elasticity(a * (1 + s), (c11 + 2 * c12) / 3, c11, c12, c44)


def lattice(crystal: Atoms, calculator: Calculator, span: float = 0.02) -> tuple[Atoms, float]:
    """Return a cubic crystal at the minimum of its equation of state, and its bulk modulus in GPa.

    Birch and Murnaghan's equation through seven volumes, twice: the second time around the minimum
    that was found first.
    """
    for _ in range(2):
        volumes, energies = [], []
        for scale in np.linspace(1 - span, 1 + span, 7):
            scaled = crystal.copy()
            scaled.set_cell(scale * crystal.cell, scale_atoms=True)
            volumes.append(scaled.get_volume())
            energies.append(calculator.get_potential_energy(scaled))
        volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
        found = crystal.copy()
        found.set_cell((volume / crystal.get_volume()) ** (1 / 3) * crystal.cell, scale_atoms=True)
        crystal = found
    return crystal, float(modulus / units.GPa)


def elastic_constants(
    crystal: Atoms, calculator: Calculator, *, relaxed: bool, size: float = 0.004
) -> tuple[float, float, float]:
    """Return C11, C12 and C44 in GPa of a cubic crystal at zero stress, from its stress.

    Parameters
    ----------
    crystal
        With its cubic axes along x, y and z.
    calculator
        With stress.
    relaxed
        Whether the atoms of the sheared crystal relax; else they follow the cell.
    size
        Components of the strains, both ways.
    """
    by_stretch = _response(crystal, calculator, (0, 0), size, relaxed=False)
    by_shear = _response(crystal, calculator, (1, 2), size, relaxed=relaxed)
    return by_stretch[0], (by_stretch[1] + by_stretch[2]) / 2, by_shear[3] / 2


def _response(
    crystal: Atoms, calculator: Calculator, place: tuple[int, int], size: float, *, relaxed: bool
) -> np.ndarray:
    """Return the change of the stress (6,) by a symmetric strain component, GPa."""
    ends = []
    for sign in (1, -1):
        deformation = np.eye(3)
        deformation[place] += sign * size
        deformation[place[::-1]] = deformation[place]
        strained = crystal.copy()
        strained.set_cell(crystal.cell @ deformation, scale_atoms=True)
        if relaxed:
            settings = RelaxSettings(fmax=0.0005, steps=500)
            strained = relax(strained, calculator=calculator, settings=settings).atoms
        strained.calc = calculator
        ends.append(strained.get_stress())
    return (ends[0] - ends[1]) / (2 * size) / units.GPa
