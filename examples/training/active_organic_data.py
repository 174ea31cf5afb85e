"""Compute, with GFN2-xTB, structures of what the checks of ``organic`` showed it not to know.

Each kind answers one finding: dimers with two hydrogen bonds bound too weakly, soft and conjugated
torsions turned too far, and small molecules of rarer elements were the worst of the test kinds.

``bound``
    pairs held by one or two hydrogen bonds, pulled apart and pushed together;
``turned``
    training and new molecules with one or more rotatable bonds turned, near their minima;
``assembled``
    small molecules put together at random from all elements as their valences allow.

The structures lie where the model takes them: it relaxes all for a few steps before GFN2-xTB
labels them. No molecule of the validation or the test set, no pair of S66's monomers and no
fragment of the torsion benchmark is used. Needs ``pip install tblite rdkit``::

    python examples/training/active_organic_data.py --data FOLDER --output active.npz

FOLDER holds ``gfn2/*.npz`` and ``smiles/*``. About 15 minutes on one core for the default sizes.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from gfn2_data import ROTATABLE, candidates, collect, label, parser
from hydrogen_bonds import hydrogen_bonded, reach, shape
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

from tdncalc import RelaxSettings, TDNCalculator, relax_many

_SYMBOLS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
VALENCES = dict(zip(_SYMBOLS, (3, 4, 3, 2, 1, 4, 3, 2, 1, 1, 1), strict=True))
# Groups with several oxygens, which no chain of single valences builds.
RICH = (
    "S(=O)(=O) S(=O) P(=O) [N+](=O)[O-] N=O C#N N=[N+]=[N-] N=C=O N=C=S S(F)(F)(F)(F)F "
    "C(F)(F)F C(=O)O B(F)F"
)


def main() -> None:
    """Compute all kinds and write them."""
    options = _options()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(options.seed)
    pool, held = candidates(options.data, ("valid.npz", "test.npz"))
    makers: dict[str, Callable[[], tuple | None]] = {
        "bound": hydrogen_bonded(rng, pool, held),
        "turned": _turned(rng, pool, held),
        "assembled": _assembled(rng, held),
    }
    calculator = TDNCalculator(model=options.model)
    collect({kind: _labelled(make, calculator, rng) for kind, make in makers.items()}, options)


def _options() -> argparse.Namespace:
    options = parser(__doc__, {"bound": 10000, "turned": 10000, "assembled": 10000})
    options.add_argument("--model", default="organic", help="what relaxes the structures")
    return options.parse_args()


def _labelled(
    make: Callable[[], tuple | None], calculator: TDNCalculator, rng: np.random.Generator
) -> Iterator[tuple]:
    """Relax what `make` returns for a few steps, move and label it; `make` may return None."""
    while True:
        made = [item for _ in range(100) if (item := make()) is not None]
        steps = int(rng.choice([1, 3, 8, 20]))
        settings = RelaxSettings(fmax=0.03, steps=steps)
        structures = [Atoms(item[0], item[1]) for item in made]
        for end in relax_many(structures, calculator=calculator, settings=settings):
            if end.result is None:
                continue
            numbers, _, smiles, first = made[end.index]
            positions = end.result.atoms.positions
            if first:  # a pair: along the line between its molecules, nearer and farther
                apart = positions[first:].mean(axis=0) - positions[:first].mean(axis=0)
                apart /= np.linalg.norm(apart)
                positions = positions.copy()
                positions[first:] += apart * rng.choice(
                    [0.0, rng.uniform(-0.3, 0.5), rng.uniform(0.5, 3.0)]
                )
            noise = rng.choice([0.0, 0.01, 0.03, 0.08])
            row = label(numbers, positions + noise * rng.normal(size=positions.shape), smiles)
            if row is not None:
                yield row


def _turned(
    rng: np.random.Generator, pool: list[str], held: set[str]
) -> Callable[[], tuple | None]:
    """Make conformers with some bonds turned by any angle."""

    def make() -> tuple | None:
        smiles = pool[rng.integers(len(pool))]
        parsed = _neutral(smiles, held)
        if parsed is None or not 6 <= parsed.GetNumAtoms() <= 22:
            return None
        bonds = parsed.GetSubstructMatches(ROTATABLE)
        full = Chem.AddHs(parsed)
        if not bonds or full.GetNumAtoms() > 45:
            return None
        if AllChem.EmbedMolecule(full, randomSeed=int(rng.integers(2**30))) != 0:
            return None
        if AllChem.MMFFHasAllMoleculeParams(full):
            AllChem.MMFFOptimizeMolecule(full, maxIters=200)
        conformer = full.GetConformer()
        for _ in range(int(rng.choice([0, 1, 1, 2]))):
            i, j = bonds[rng.integers(len(bonds))]
            before = [x.GetIdx() for x in full.GetAtomWithIdx(i).GetNeighbors() if x.GetIdx() != j]
            after = [x.GetIdx() for x in full.GetAtomWithIdx(j).GetNeighbors() if x.GetIdx() != i]
            four = (before[0], i, j, after[0])
            Chem.rdMolTransforms.SetDihedralDeg(conformer, *four, rng.uniform(-180, 180))
        numbers = np.array([atom.GetAtomicNum() for atom in full.GetAtoms()])
        positions = conformer.GetPositions()
        apart = np.linalg.norm(positions[:, None] - positions, axis=2) + 9 * np.eye(len(numbers))
        if (apart / reach(numbers)).min() < 0.8:
            return None
        return numbers, positions, Chem.MolToSmiles(parsed), 0

    return make


def _assembled(rng: np.random.Generator, held: set[str]) -> Callable[[], tuple | None]:
    """Make small molecules of any elements: random trees whose free valences hydrogen fills."""
    symbols = list(VALENCES)
    weights = np.array([2, 3, 2, 2, 2, 3, 3, 3, 2, 2, 2], dtype=float)
    rich = RICH.split()

    def make() -> tuple | None:
        atoms = rng.choice(symbols, size=int(rng.integers(1, 6)), p=weights / weights.sum())
        editable = Chem.RWMol()
        free: list[int] = []
        for symbol in atoms:
            where = [k for k, valence in enumerate(free) if valence > 0]
            index = editable.AddAtom(Chem.Atom(str(symbol)))
            free.append(VALENCES[str(symbol)])
            if index == 0:
                continue
            if not where:
                return None
            to = int(rng.choice(where))
            order = min(int(rng.choice([1, 1, 1, 2, 3])), free[to], free[index])
            kinds = Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE
            editable.AddBond(to, index, kinds[order - 1])
            free[to] -= order
            free[index] -= order
        smiles = Chem.MolToSmiles(editable)
        if rng.random() < 0.3:
            smiles = f"{smiles}{rich[rng.integers(len(rich))]}"
        molecule = shape(smiles, held, int(rng.integers(2**30)))
        if molecule is None:
            return None
        positions = molecule.positions * rng.uniform(0.93, 1.1)
        positions = positions + rng.uniform(0.0, 0.12) * rng.normal(size=positions.shape)
        return molecule.numbers, positions, molecule.smiles, 0

    return make


def _neutral(smiles: str, held: set[str]) -> Chem.Mol | None:
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or "." in smiles or Chem.GetFormalCharge(parsed) != 0:
        return None
    return None if Chem.MolToSmiles(parsed) in held else parsed


if __name__ == "__main__":
    main()
