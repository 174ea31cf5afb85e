"""Physics that any potential must obey, measured on this machine: a figure and a limit each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tdncalc.errors import OptionError, StructureError
from tdncalc.potential import Potential
from tdncalc.selftest.displacements import contact, shift, strain, turned
from tdncalc.selftest.samples import sample_structures
from tdncalc.structures import AnyStructure, to_atoms

__all__ = ["Check", "measure", "selftest"]

_Floats: TypeAlias = NDArray[np.float64]

# Central differences of sixth order: f' = Σ w (f(x + k h) - f(x - k h)) / h
_STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
_DIRECTIONS = 3
_FAR = 1000.0  # Å
_BESIDE = (1.02, 0.98)  # times as large: that moves a bond further than the differences reach


@dataclass(frozen=True)
class _Precision:
    """Steps of the differences, and what rounding may do at this precision.

    Energies are per atom in eV, forces in eV/Å; the limits are widened by the largest force of the
    structure in eV/Å, where it is above 1, and that of a derivative by the noise of many atoms.
    """

    step: float
    crossing: float
    energy: float
    forces: float
    derivative: float


_PRECISIONS = {
    torch.float32: _Precision(2e-3, 1e-4, 2e-5, 1e-3, 2e-2),
    torch.float64: _Precision(2e-4, 1e-6, 1e-9, 1e-7, 1e-6),
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check: its largest figure over all structures.

    Attributes
    ----------
    check
        What was done.
    value, unit, limit
        The figure, and what it may not exceed.
    structure
        Where the figure was found.
    passed
        Whether the figure is within the limit.
    """

    check: str
    value: float
    unit: str
    limit: float
    structure: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class _Finding:
    """A figure of one structure, with the limit that it has there."""

    check: str
    value: float
    unit: str
    limit: float


def selftest(
    potential: Potential, structures: Sequence[AnyStructure] | None = None, *, seed: int = 0
) -> list[Check]:
    """Check forces, stress, symmetries, extensivity and smoothness of a potential.

    Where a compiled kernel evaluates it, that is compared with PyTorch besides: a kernel may be
    wrong and obey all of them.

    Parameters
    ----------
    potential
        Any model, without dispersion; the limits are those of its precision.
    structures
        What to check it on; small awkward structures of its elements if None.
    seed
        Of directions and rotations.

    Returns
    -------
    list of Check
        One for each check that some structure allows, with the structure where it is worst.

    Raises
    ------
    StructureError
        There is no structure, or one that the model cannot evaluate.
    OptionError
        Dispersion is added to the model.
    """
    if potential.dispersion is not None:
        raise OptionError(
            f"selftest measures a network, not {potential.dispersion}; load the model without"
        )
    named = _named(potential, structures)
    reference = potential.in_pytorch() if potential.evaluation == "compiled" else None
    worst: dict[str, tuple[float, Check]] = {}
    for name, atoms in named:
        for finding in measure(potential, atoms, seed=seed, reference=reference):
            excess = finding.value / finding.limit
            if not np.isfinite(excess):  # no comparison with NaN keeps it
                excess = np.inf
            check = Check(**vars(finding), structure=name, passed=excess <= 1)
            if finding.check not in worst or excess > worst[finding.check][0]:
                worst[finding.check] = excess, check
    return [check for _, check in worst.values()]


def measure(
    potential: Potential, atoms: Atoms, *, seed: int = 0, reference: Potential | None = None
) -> Iterator[_Finding]:
    """Measure all checks that a structure allows; one is to say the same as a reference, if any."""
    rng = np.random.default_rng(seed)
    case = _Case(potential, atoms)
    if reference is not None:
        yield from _agreement(case, reference)
    yield from _derivatives(case, rng)
    yield from _symmetries(case, rng)
    yield from _repetition(case)
    if not atoms.pbc.any() and len(atoms) > 1:
        yield from _crossing(case, rng)


def _named(
    potential: Potential, structures: Sequence[AnyStructure] | None
) -> list[tuple[str, Atoms]]:
    if structures is None:
        return list(sample_structures(potential.elements).items())
    if not structures:
        raise StructureError("no structure to check the model on; give at least one")
    atoms = [to_atoms(structure) for structure in structures]
    return [(f"{index} ({a.get_chemical_formula()})", a) for index, a in enumerate(atoms)]


class _Case:
    """A structure with its results, and findings with the limits of its precision."""

    def __init__(self, potential: Potential, atoms: Atoms) -> None:
        self.potential = potential
        self.atoms = atoms
        self.precision = _PRECISIONS[potential.dtype]
        (self.results,) = self.evaluate([atoms])
        forces = np.linalg.norm(self.results["forces"], axis=1)
        self.scale = max(1.0, float(forces.max()))

    def evaluate(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        return self.potential.evaluate(structures)

    def energy(self, check: str, error: float, n_atoms: int | None = None) -> _Finding:
        value = abs(error) / (n_atoms or len(self.atoms))
        return _Finding(check, float(value), "eV/atom", self.precision.energy * self.scale)

    def forces(self, check: str, error: _Floats) -> _Finding:
        value = float(np.abs(error).max())
        return _Finding(check, value, "eV/Å", self.precision.forces * self.scale)

    def derivative(self, check: str, error: _Floats, unit: str) -> _Finding:
        value = float(np.abs(error).max())
        noise = max(1.0, len(self.atoms) / 20) ** 0.5
        return _Finding(check, value, unit, self.precision.derivative * self.scale * noise)


def _agreement(case: _Case, reference: Potential) -> Iterator[_Finding]:
    """Compare with another evaluation of the same model."""
    (expected,) = reference.evaluate([case.atoms])
    error = case.results["energy"] - expected["energy"]
    yield case.energy("kernel = PyTorch, energy", error)
    yield case.forces("kernel = PyTorch, forces", case.results["forces"] - expected["forces"])


def _derivatives(case: _Case, rng: np.random.Generator) -> Iterator[_Finding]:
    """Compare forces and stress with differences of the energy, and forces with each other."""
    atoms, forces = case.atoms, case.results["forces"]
    yield case.forces("net force", forces.sum(0))
    directions = rng.normal(size=(_DIRECTIONS, *forces.shape))
    directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
    slopes, changes = _differences(case, [shift(atoms, d) for d in directions])
    expected = -np.einsum("dna,na->d", directions, forces)
    yield case.derivative("forces = −dE/dr", slopes - expected, "eV/Å")
    yield _curl(case, directions, changes)
    if "stress" not in case.results:
        return
    strains = rng.normal(size=(_DIRECTIONS, 3, 3))
    strains = (strains + strains.transpose(0, 2, 1)) / 6
    slopes, _ = _differences(case, [strain(atoms, e) for e in strains])
    expected = atoms.get_volume() * np.einsum(
        "dab,ab->d", strains, voigt_6_to_full_3x3_stress(case.results["stress"])
    )
    yield case.derivative("stress = dE/dε / V", (slopes - expected) / len(atoms), "eV/atom")


def _curl(case: _Case, directions: _Floats, changes: _Floats) -> _Finding:
    """Compare how the force along one direction changes along another, and the other way round.

    Where the differences cross a jump of a third derivative, as at the end of a repulsion between
    bonded atoms, they differ without a curl; there is none a little way off.
    """

    def found(changes: _Floats) -> _Finding:
        curl = np.einsum("dna,ena->de", directions, changes)
        return case.derivative("curl of the forces", curl - curl.T, "eV/Å²")

    findings = [found(changes)]
    for factor in _BESIDE:
        if not findings[-1].value <= findings[-1].limit:
            beside = case.atoms.copy()
            beside.set_cell(factor * case.atoms.cell.array)
            beside.positions = factor * case.atoms.positions
            findings.append(found(_differences(case, [shift(beside, d) for d in directions])[1]))
    return min(findings, key=lambda finding: finding.value)


def _differences(case: _Case, moves: Sequence[Callable[[float], Atoms]]) -> tuple[_Floats, _Floats]:
    """Return the slopes of the energy (d,) and of the forces (d, N, 3) along each move."""
    step = case.precision.step
    amounts = [sign * k * step for k in _STENCIL for sign in (1, -1)]
    results = case.evaluate([move(amount) for move in moves for amount in amounts])
    weights = np.array([sign * w / step for w in _STENCIL.values() for sign in (1, -1)])
    energies = np.array([r["energy"] for r in results]).reshape(len(moves), -1)
    forces = np.array([r["forces"] for r in results]).reshape(*energies.shape, -1, 3)
    return energies @ weights, np.einsum("dsna,s->dna", forces, weights)


def _symmetries(case: _Case, rng: np.random.Generator) -> Iterator[_Finding]:
    """Turn, mirror, move and reorder the structure; energy and forces must follow."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.linalg.det(q)
    order = rng.permutation(len(case.atoms))
    moved = case.atoms.copy()
    moved.positions += [100.0, -70.0, 31.7]
    changed = {
        "rotation": (turned(case.atoms, q), q, slice(None)),
        "reflection": (turned(case.atoms, -q), -q, slice(None)),
        "translation": (moved, np.eye(3), slice(None)),
        "permutation": (case.atoms[order], np.eye(3), order),
    }
    results = case.evaluate([atoms for atoms, _, _ in changed.values()])
    for (name, (_, turn, part)), found in zip(changed.items(), results, strict=True):
        yield case.energy(f"{name}, energy", found["energy"] - case.results["energy"])
        yield case.forces(
            f"{name}, forces", found["forces"] - case.results["forces"][part] @ turn.T
        )


def _repetition(case: _Case) -> Iterator[_Finding]:
    """Compare with twice the structure: a copy far away, or a supercell that has no self images."""
    atoms, count = case.atoms, 2
    if atoms.pbc.any():
        repeats = [2 if periodic else 1 for periodic in atoms.pbc]
        larger, count, name = atoms.repeat(repeats), int(np.prod(repeats)), "supercell"
    else:
        copy = atoms.copy()
        copy.positions[:, 0] += _FAR
        larger, name = atoms + copy, "two far copies"
    (found,) = case.evaluate([larger])
    energy = found["energy"] - count * case.results["energy"]
    yield case.energy(f"{name}, energy", energy, len(larger))
    forces = np.tile(case.results["forces"], (count, 1))
    yield case.forces(f"{name}, forces", found["forces"] - forces)


def _crossing(case: _Case, rng: np.random.Generator) -> Iterator[_Finding]:
    """Bring a copy of the structure near until its nearest atom crosses the cutoff."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    start = contact(case.atoms.positions, direction, case.potential.cutoff)
    if start is None:
        return
    pair = []
    for amount in (start - case.precision.crossing, start + case.precision.crossing):
        copy = case.atoms.copy()
        copy.positions += amount * direction
        pair.append(case.atoms + copy)
    inside, outside = case.evaluate(pair)
    jump = abs(inside["energy"] - outside["energy"])
    limit = case.precision.energy * case.scale * len(pair[0])
    yield _Finding("crossing the cutoff, energy", jump, "eV", limit)
    yield case.forces("crossing the cutoff, forces", inside["forces"] - outside["forces"])
