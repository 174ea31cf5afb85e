"""Pairs of molecules held by one or two hydrogen bonds, as starts for active_organic_data.py."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii
from gfn2_data import embed
from numpy.typing import NDArray
from rdkit import Chem

S66 = (
    "O CO CN CC(=O)NC c1ccncc1 CC(=O)O CC(N)=O O=c1cc[nH]c(=O)[nH]1 c1ccccc1 C#C C=C C1CCCC1 "
    "CC(C)(C)C CCCCC"
)
# Small partners with donors and acceptors, beside those found among the training molecules.
PARTNERS = (
    "O CO CCO OC=O CC(=O)O CCC(=O)O OC(=O)c1ccccc1 NC=O CC(N)=O CNC=O CC(=O)NC NC(=O)c1ccccc1 "
    "NC(N)=O NC(N)=S CC(N)=S O=c1cc[nH]c(=O)[nH]1 Cc1c[nH]c(=O)[nH]c1=O O=c1cccc[nH]1 "
    "O=c1cc[nH]cn1 Nc1ccccn1 Nc1ncccn1 Nc1ccnc(=O)[nH]1 Nc1ncnc2[nH]cnc12 "
    "O=c1[nH]cnc2[nH]cnc12 c1c[nH]cn1 c1cn[nH]c1 c1cc[nH]c1 c1ccncc1 CN CNC CN(C)C NC(=N)N "
    "CC(=N)N O=C1CCCN1 O=C1CCC(=O)N1 O=C1NCCN1 NO CNO OO CC=NO CC(=O)NO CS(N)(=O)=O "
    "CS(=O)(=O)O CS(C)=O COP(=O)(O)OC OP(=O)(O)O CP(=O)(O)O OB(O)c1ccccc1 OB(O)O CC#N C=O "
    "CC(C)=O COC(C)=O c1ccc(O)cc1 Nc1ccccc1 OCCO OCC(O)CO NCC(=O)O CC(O)C(=O)O OC(=O)C(=O)O "
    "OC(=O)C=CC(=O)O S CS F Cl"
)


class Molecule(NamedTuple):
    """A shape, Å, about its center, and its canonical SMILES."""

    numbers: NDArray
    positions: NDArray
    smiles: str


class Site(NamedTuple):
    """Where a partner comes to lie: a point, the way out, the way from donor to acceptor."""

    point: NDArray
    out: NDArray
    along: NDArray
    donor: bool
    acceptor: bool


def hydrogen_bonded(
    rng: np.random.Generator, pool: list[str], held: set[str]
) -> Callable[[], tuple | None]:
    """Make pairs with one or two hydrogen bonds."""
    tested = {Chem.CanonSmiles(smiles) for smiles in S66.split()}
    partners = [m for s in PARTNERS.split() if (m := shape(s, held, 1)) is not None]
    found = {m.smiles for m in partners}
    usual = len(partners)
    for smiles in rng.permutation(pool):
        if len(partners) >= 600:
            break
        if len(smiles) < 22 and "." not in smiles and smiles not in found:
            molecule = shape(smiles, held, 1)
            if molecule is not None and len(molecule.numbers) <= 18 and len(_sites(molecule)) >= 2:
                partners.append(molecule)
                found.add(molecule.smiles)
    sites = [_sites(molecule) for molecule in partners]
    double = [[s for s in those if s.donor and s.acceptor] for those in sites]

    def make() -> tuple | None:
        i = int(rng.integers(usual if rng.random() < 0.6 else len(partners)))
        j = int(rng.integers(usual if rng.random() < 0.6 else len(partners)))
        if {partners[i].smiles, partners[j].smiles} <= tested:
            return None
        twice = rng.random() < 0.7 and double[i] and double[j]
        these, those = (double[i], double[j]) if twice else (sites[i], sites[j])
        if not these or not those:
            return None
        one, other = these[rng.integers(len(these))], those[rng.integers(len(those))]
        if not ((one.donor and other.acceptor) or (one.acceptor and other.donor)):
            return None
        return _pair(partners[i], one, partners[j], other, bool(twice), rng)

    return make


def _sites(molecule: Molecule) -> list[Site]:
    """Find donors (H on N, O, S, F), acceptors, and pairs of both two bonds apart."""
    numbers, positions, _ = molecule
    center = positions.mean(axis=0)
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    bonded = (distances < 1.25 * reach(numbers)) & (distances > 0)
    electronegative = np.isin(numbers, (7, 8, 9, 16, 17))
    donors = [
        (h, int(np.flatnonzero(bonded[h])[0]))
        for h in np.flatnonzero(numbers == 1)
        if bonded[h].sum() == 1 and electronegative[np.flatnonzero(bonded[h])[0]]
    ]
    acceptors = [a for a in np.flatnonzero(np.isin(numbers, (7, 8, 16))) if bonded[a].sum() <= 2]
    sites = []
    for h, d in donors:
        sites.append(
            Site(positions[h], _unit(positions[h] - positions[d]), _any(positions[h]), True, False)
        )
        for a in acceptors:
            between = np.flatnonzero(bonded[d] & bonded[a])
            if a != d and len(between) and distances[h, a] < 3.2:
                middle = (positions[h] + positions[a]) / 2
                out = middle - positions[between[0]]
                along = _unit(positions[a] - positions[h])
                out = _unit(out - along * (out @ along))
                sites.append(Site(middle, out, along, True, True))
    for a in acceptors:
        neighbors = positions[bonded[a]].mean(axis=0) if bonded[a].any() else center
        sites.append(
            Site(positions[a], _unit(positions[a] - neighbors), _any(positions[a]), False, True)
        )
    return sites


def _pair(
    a: Molecule, one: Site, b: Molecule, other: Site, twice: bool, rng: np.random.Generator
) -> tuple | None:
    """Bring two sites to face each other, about 1.9 Å apart; None where molecules overlap."""
    turn = _frame(one.out, one.along).T @ _frame(-other.out, -other.along)
    if not twice:  # free to turn about the bond
        turn = _about(one.out, rng.uniform(0, 2 * np.pi)) @ turn
    turn = _about(_unit(rng.normal(size=3)), np.radians(12) * rng.normal()) @ turn
    moved = (b.positions - other.point) @ turn.T
    moved += one.point + one.out * rng.uniform(1.7, 2.3) + 0.15 * rng.normal(size=3)
    numbers = np.concatenate([a.numbers, b.numbers])
    positions = np.concatenate([a.positions, moved])
    across = np.linalg.norm(a.positions[:, None] - moved, axis=2)
    if across.min() < 1.5 or ((a.numbers != 1).any() and len(numbers) > 40):
        return None
    return numbers, positions, f"{a.smiles}.{b.smiles}", len(a.numbers)


def shape(smiles: str, held: set[str], seed: int) -> Molecule | None:
    """Make a molecule's shape about its center by a force field; None where it cannot be."""
    found = embed(smiles, held, seed)
    if found is None:
        return None
    return Molecule(found[0], found[1] - found[1].mean(axis=0), found[2])


def reach(numbers: NDArray) -> NDArray:
    """Return the sums of covalent radii of all pairs, Å."""
    return covalent_radii[numbers][:, None] + covalent_radii[numbers]


def _unit(vector: NDArray) -> NDArray:
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])


def _any(position: NDArray) -> NDArray:
    return _unit(np.cross(position, [0.3, -0.7, 0.2]))


def _frame(out: NDArray, along: NDArray) -> NDArray:
    """Return an orthonormal frame, rows: out, the part of `along` across it, and their product."""
    across = _unit(along - out * (along @ out))
    return np.array([out, across, np.cross(out, across)])


def _about(axis: NDArray, angle: float) -> NDArray:
    """Return the rotation by an angle about an axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
