"""Compute conformers of drug-like molecules at the minima of ``organic``, with GFN2-xTB.

Which conformer is the more stable is decided by differences of energy between minima of one
molecule, and there the training set of ``organic`` has few: most of its structures are hot. Here
molecules with at least two rotatable bonds are embedded several times and relaxed with the model;
its minima, where its own errors matter, are what GFN2-xTB labels.

No molecule of the sets at hand and no fragment of the torsion benchmark is used. Needs
``pip install tblite rdkit``::

    python examples/training/conformer_data.py --data FOLDER --output conformers.npz --seed 1

FOLDER holds ``gfn2/*.npz`` and ``smiles/*``. About 0.2 s of one core a structure.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from gfn2_data import ROTATABLE, candidates, embed_several, label, parser, write
from rdkit import Chem, RDLogger

from tdncalc import RelaxSettings, TDNCalculator, relax_many

FEWEST, LARGEST = 18, 45  # atoms
AT_ONCE = 25  # molecules
SETTINGS = RelaxSettings(fmax=0.05, steps=150)


def main() -> None:
    """Compute them and write them."""
    options = _options()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(options.seed)
    pool, known = candidates(options.data)
    calculator = TDNCalculator(model=options.model)
    rows: list[tuple] = []
    while len(rows) < options.structures:
        names, starts = _conformers(rng, pool, known, options.conformers)
        rows += _labelled(names, starts, calculator)
        write(options.output, rows)  # after each batch: nothing is lost


def _options() -> argparse.Namespace:
    options = parser(__doc__, {"structures": 10000, "conformers": 5})
    options.add_argument("--model", default="organic", help="what relaxes the structures")
    return options.parse_args()


def _conformers(
    rng: np.random.Generator, pool: list[str], known: set[str], number: int
) -> tuple[list[str], list[Atoms]]:
    """Return SMILES and structures of new molecules, several of each."""
    names: list[str] = []
    starts: list[Atoms] = []
    molecules = 0
    while molecules < AT_ONCE:
        smiles = pool[rng.integers(len(pool))]
        if not 12 < len(smiles) < 50 or not _flexible(smiles):
            continue
        made = embed_several(smiles, known, int(rng.integers(2**30)), number)
        if made is None or not FEWEST <= len(made[0]) <= LARGEST:
            continue
        numbers, shapes, canonical = made
        known.add(canonical)
        molecules += 1
        names += [canonical] * len(shapes)
        starts += [Atoms(numbers, positions) for positions in shapes]
    return names, starts


def _flexible(smiles: str) -> bool:
    parsed = Chem.MolFromSmiles(smiles)
    return parsed is not None and len(parsed.GetSubstructMatches(ROTATABLE)) >= 2


def _labelled(names: list[str], starts: list[Atoms], calculator: TDNCalculator) -> Iterator[tuple]:
    """Relax all together and label where they end; the same minimum of a molecule once."""
    seen: dict[str, list[float]] = {}
    for end in relax_many(starts, calculator=calculator, settings=SETTINGS):
        if end.result is None:
            continue
        atoms, name = end.result.atoms, names[end.index]
        if any(abs(end.result.energy - other) < 1e-4 for other in seen.setdefault(name, [])):
            continue
        seen[name].append(end.result.energy)
        row = label(atoms.numbers, atoms.positions, name)
        if row is not None:
            yield (*row, "conformer")


if __name__ == "__main__":
    main()
