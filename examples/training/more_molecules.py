"""Compute structures of molecules that are not in the training set of ``organic``, with GFN2-xTB.

Its energies are wrong by an offset of each molecule more than within one, and less so for molecules
that it was trained on: what it lacks are molecules. Of each, two structures, or with ``--single``
one of the two, of twice as many molecules in about the same time:

``eased``
    on the way of the model from a force field's minimum to its own;
``thermal``
    from 15 fs of dynamics of the model that starts there, at 100 to 1800 K.

No molecule of the validation or the test set and no fragment of the torsion benchmark is used.
Needs ``pip install tblite rdkit``::

    python examples/training/more_molecules.py --data FOLDER --output more.npz --seed 1

FOLDER holds ``gfn2/*.npz`` and ``smiles/*``. About 80 ms of one core a structure. With
``--fragments 7`` they are of pieces of so many heavy atoms at most, that molecules fall into where
they can be made (BRICS: Degen et al., ChemMedChem 3, 1503 (2008)) and of two such pieces that hang
together, the common ones first: what is small enough to be computed with a functional and has what
large molecules are made of. Pieces may be in the training set.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from ase import Atoms, units
from gfn2_data import candidates, embed, label, parser, write
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import BRICS

from tdncalc import Potential, RelaxSettings, TDNCalculator, relax_many

LARGEST = 50  # atoms
AT_ONCE = 100
BETWEEN = 1000  # structures from one writing to the next
CUT = 20_000  # molecules to take pieces of
TEMPERATURES = (100, 300, 300, 500, 500, 800, 1200, 1800)  # K
STEP, STEPS = 1.0 * units.fs, 15


def main() -> None:
    """Compute them and write them."""
    options = _options()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(options.seed)
    if options.fragments:
        whole, known = candidates(options.data, ("valid.npz", "test.npz"))
        some = rng.choice(len(whole), CUT, replace=False)
        pool = [piece for i in some for piece in pieces(whole[i], options.fragments)]
    else:
        pool, known = candidates(options.data)
    calculator = TDNCalculator(model=options.model)
    rows: list[tuple] = []
    written = 0
    while len(rows) < options.structures:
        molecules = _molecules(rng, pool, known)
        rows += _structures(molecules, calculator, rng, single=options.single)
        if len(rows) >= written + BETWEEN or len(rows) >= options.structures:
            write(options.output, rows)  # little is lost when it is stopped
            written = len(rows)


def _options() -> argparse.Namespace:
    options = parser(__doc__, {"structures": 20000})
    options.add_argument("--model", default="organic", help="what moves the structures")
    options.add_argument("--fragments", type=int, help="of pieces with so many heavy atoms at most")
    options.add_argument("--single", action="store_true", help="one structure of each molecule")
    return options.parse_args()


def pieces(smiles: str, most: int) -> set[str]:
    """Cut a molecule where BRICS cuts it; return its pieces, and each two that hang together."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return set()
    pairs = [pair for pair, _ in BRICS.FindBRICSBonds(molecule)]
    bonds = [molecule.GetBondBetweenAtoms(*pair).GetIdx() for pair in pairs]
    cuts = [bonds, *([one for one in bonds if one != kept] for kept in bonds)]
    found: set[str] = set()
    for cut in cuts:
        parts = Chem.FragmentOnBonds(molecule, cut) if cut else molecule
        for part in Chem.GetMolFrags(parts, asMols=True):
            for atom in part.GetAtoms():
                if atom.GetAtomicNum() == 0:  # where it was cut
                    atom.SetAtomicNum(1)
                    atom.SetIsotope(0)
            if _heavy(part) <= most:
                found.add(Chem.MolToSmiles(Chem.RemoveHs(part)))
    return found


def _heavy(molecule: Chem.Mol) -> int:
    return sum(atom.GetAtomicNum() > 1 for atom in molecule.GetAtoms())


def _molecules(rng: np.random.Generator, pool: list[str], known: set[str]) -> list[tuple]:
    """Return new molecules, each once: numbers, positions and SMILES."""
    found: list[tuple] = []
    while len(found) < AT_ONCE:
        smiles = pool[rng.integers(len(pool))]
        if len(smiles) > LARGEST:  # a long one has too many atoms, and takes long to embed
            continue
        molecule = embed(smiles, known, seed=int(rng.integers(2**30)))
        if molecule is not None and len(molecule[0]) <= LARGEST:
            known.add(molecule[2])
            found.append(molecule)
    return found


def _structures(
    molecules: list[tuple], calculator: TDNCalculator, rng: np.random.Generator, *, single: bool
) -> Iterator[tuple]:
    """Ease all, run dynamics of each, or of every second alone, and label what comes of it."""
    moving, names = [], []
    settings = RelaxSettings(fmax=0.05, steps=int(rng.choice([1, 3, 8, 20])))
    start = [Atoms(numbers, positions) for numbers, positions, _ in molecules]
    for end in relax_many(start, calculator=calculator, settings=settings):
        if end.result is not None:
            moving.append(end.result.atoms)
            names.append(molecules[end.index][2])
    half = slice(len(moving) // 2 if single else None)
    yield from _labelled(moving[half], names[half], "eased")
    if single:
        moving, names = moving[half.stop :], names[half.stop :]
    velocities = [_velocities(atoms, rng) for atoms in moving]
    _run(moving, velocities, calculator.potential)
    yield from _labelled(moving, names, "thermal")


def _labelled(structures: list[Atoms], names: list[str], kind: str) -> Iterator[tuple]:
    for atoms, smiles in zip(structures, names, strict=True):
        row = label(atoms.numbers, atoms.positions, smiles)
        if row is not None:
            yield (*row, kind)


def _velocities(atoms: Atoms, rng: np.random.Generator) -> NDArray:
    """Draw velocities at twice a temperature: half of it goes into the potential energy."""
    spread = np.sqrt(2 * units.kB * rng.choice(TEMPERATURES) / atoms.get_masses())
    return spread[:, None] * rng.normal(size=(len(atoms), 3))


def _run(structures: list[Atoms], velocities: list[NDArray], potential: Potential) -> None:
    """Move all along by velocity Verlet, together."""
    forces = [result["forces"] for result in potential.evaluate(structures, properties=["forces"])]
    for _ in range(STEPS):
        for atoms, speed, force in zip(structures, velocities, forces, strict=True):
            speed += 0.5 * STEP * force / atoms.get_masses()[:, None]
            atoms.positions += STEP * speed
        forces = [
            result["forces"] for result in potential.evaluate(structures, properties=["forces"])
        ]
        for atoms, speed, force in zip(structures, velocities, forces, strict=True):
            speed += 0.5 * STEP * force / atoms.get_masses()[:, None]


if __name__ == "__main__":
    main()
