"""Pairs of molecules: their minima from many starts, and curves along their distance."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy.spatial.transform import Rotation

from harness.conformers import embed, to_atoms

__all__ = ["apart", "arrangements", "contact", "distinct", "interaction"]

GAP = 2.4  # Å: nearest atoms of two molecules at the start
SAME = (0.002, 0.3)  # eV and Å: two minima nearer than both are one


def contact(pair: Atoms, first: int) -> float:
    """Return the shortest distance in Å between the first molecule's atoms and the others."""
    distances = pair.get_all_distances()
    return float(distances[:first, first:].min())


def apart(pair: Atoms, first: int, scale: float) -> Atoms:
    """Return a copy with the second molecule moved so that the contact is scaled, both rigid.

    It moves along the line between the two molecules' centers of mass by ``(scale − 1)`` times the
    shortest distance between their atoms.
    """
    one, other = pair[:first].get_center_of_mass(), pair[first:].get_center_of_mass()
    line = (other - one) / np.linalg.norm(other - one)
    copy = pair.copy()
    copy.set_constraint()
    copy.positions[first:] += (scale - 1) * contact(pair, first) * line
    return copy


def interaction(pairs: Sequence[Atoms], first: int, calculator: Calculator) -> np.ndarray:
    """Return the energies in eV of pairs less those of their molecules as they are in them."""
    energies = []
    for pair in pairs:
        parts = (pair, pair[:first], pair[first:])
        whole, one, other = (calculator.get_potential_energy(part.copy()) for part in parts)
        energies.append(whole - one - other)
    return np.array(energies)


def arrangements(one: str, other: str, number: int, seed: int = 1) -> tuple[list[Atoms], int]:
    """Return arrangements of two molecules to relax, and the atoms of the first one.

    Parameters
    ----------
    one, other
        SMILES.
    number
        How many random orientations and directions to start from.
    seed
        Of the random numbers.

    Returns
    -------
    tuple[list[Atoms], int]
        The distinct minima of MMFF94, the lowest first, and after them the random starts.
    """
    molecules = [embed(smiles, 1) for smiles in (one, other)]
    parts = [to_atoms(molecule, 0) for molecule in molecules]
    pair = Chem.CombineMols(*molecules)
    Chem.SanitizeMol(pair)
    pair.RemoveAllConformers()
    random = np.random.default_rng(seed)
    placed = [_placed(*parts, random) for _ in range(number)]
    for atoms in placed:
        conformer = Chem.Conformer(pair.GetNumAtoms())
        conformer.SetPositions(atoms.positions)
        pair.AddConformer(conformer, assignId=True)
    ends = AllChem.MMFFOptimizeMoleculeConfs(pair, maxIters=2000, ignoreInterfragInteractions=False)
    found = [to_atoms(pair, index) for index in range(number)]
    for atoms, (_, energy) in zip(found, ends, strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy * units.kcal / units.mol)
    return distinct(found) + placed, len(parts[0])


def _placed(one: Atoms, other: Atoms, random: np.random.Generator) -> Atoms:
    """Return a pair in random orientations and direction, the nearest atoms 2.4 Å apart."""
    turns = Rotation.random(2, rng=random).as_matrix()
    a, b = (
        (atoms.positions - atoms.get_center_of_mass()) @ turn
        for atoms, turn in zip((one, other), turns, strict=True)
    )
    direction = random.normal(size=3)
    direction /= np.linalg.norm(direction)
    positions = np.concatenate([a, b + _touching(a, b, direction) * direction])
    return Atoms(np.concatenate([one.numbers, other.numbers]), positions)


def _touching(a: np.ndarray, b: np.ndarray, direction: np.ndarray) -> float:
    """Return how far to move b along a direction so that its nearest atom is 2.4 Å from a.

    |b − a + t d| = GAP has the larger root t = −(b−a)·d + √(GAP² − |b−a|² + ((b−a)·d)²).
    """
    between = b[None] - a[:, None]
    along = between @ direction
    below = GAP**2 - (between**2).sum(-1) + along**2
    reached = below >= 0
    return float((np.sqrt(below[reached]) - along[reached]).max())


def distinct(minima: Sequence[Atoms]) -> list[Atoms]:
    """Return minima from the lowest energy on, without those that were there before."""
    found: list[Atoms] = []
    for atoms in sorted(minima, key=Atoms.get_potential_energy):
        if not any(_same(atoms, other) for other in found):
            found.append(atoms)
    return found


def _same(one: Atoms, other: Atoms) -> bool:
    """Return whether two minima are one, by energy and by sorted distances (atoms may exchange)."""
    if abs(one.get_potential_energy() - other.get_potential_energy()) > SAME[0]:
        return False
    a, b = (np.sort(atoms.get_all_distances(), axis=None) for atoms in (one, other))
    return bool(np.abs(a - b).max() < SAME[1])
