"""Compute the part of the training set of ``organic`` that closes its gaps, with GFN2-xTB.

Three kinds of structures, in the format of the other shards:

``small``
    the smallest molecules, inorganic ones among them, near and far from their minima;
``contact``
    pairs of training molecules pushed into each other, nearer than any dynamics takes them;
``element``
    new molecules with P, S, B, Si or a halogen, along short descents from distorted conformers.

No molecule of the validation or the test set is used. Needs ``pip install tblite rdkit``::

    python examples/training/extra_organic_data.py --data FOLDER --output extra.npz

FOLDER holds ``gfn2/*.npz`` and ``smiles/*``. About 15 minutes on one core for the default sizes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.data import covalent_radii
from gfn2_data import KNOWN, Row, collect, embed, known_smiles, label, parser, read_smiles
from numpy.typing import NDArray
from rdkit import Chem, RDLogger

_SMALL = (
    "[H][H] N#N FF ClCl BrBr II F Cl Br I [C-]#[O+] O=C=O S=C=S O=C=S N#[N+][O-] C#N O=S=O "
    "O=S(=O)=O S OO N P [SiH4] C B FB(F)F ClB(Cl)Cl BrB(Br)Br F[Si](F)(F)F Cl[Si](Cl)(Cl)Cl "
    "FN(F)F ClN(Cl)Cl FP(F)F ClP(Cl)Cl BrP(Br)Br FP(F)(F)(F)F FS(F)(F)(F)(F)F FS(F)(F)F FCl "
    "BrCl ICl IBr FC(F)(F)F ClC(Cl)(Cl)Cl BrC(Br)(Br)Br IC(I)I OCl OF FOF ClOCl S1SSSSSSS1 "
    "P12P3P1P23 SS NN N=[N+]=[N-] O[N+](=O)[O-] OS(=O)(=O)O OP(=O)(O)O N#CC#N N=C=O N=C=S "
    "O=C=C=C=O [O-][O+]=O O=NCl ClS(=O)Cl ClS(=O)(=O)Cl ClP(Cl)(Cl)=O ClP(Cl)(Cl)=S "
    "[SiH3][SiH3] [SiH3]O[SiH3] B1NBNBN1 O OB(O)O FC#N ClC#N BrC#N C#C C=C CC C=O CO CF CCl "
    "CBr CI CS CN CP CB C[SiH3] O=CO NC=O C=C=C C=C=O CC#N CC=O COC C1CC1 C1CO1 C1CN1 C1CS1 "
    "NO ON=O OC(=O)O NC(N)=O S=C FC=O ClC(Cl)=O CS(C)=O CSC CSSC CP(C)C CB(C)C ClC=C FC=C "
    "BrC=C FC(F)F ClC(Cl)Cl BrC(Br)Br ClCCl FCF BrCBr ICI PP S=P SP NP FP FS OP(O)O PO BO "
    "[SiH3]F [SiH3]Cl [SiH3]Br [SiH3]I [SiH2](F)F [SiH3]N [SiH3]P [SiH3]S [SiH3]B NS NF NCl "
    "NBr NI PCl PBr PI PF SCl SBr SI BF BCl BBr BI BN BS BP "
)


def main() -> None:
    """Compute all kinds and write them."""
    options = parser(__doc__, {"small": 4000, "contact": 5000, "element": 7000}).parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(options.seed)
    held = known_smiles(options.data, ("valid.npz", "test.npz"))
    sources = {
        "small": _small(rng, held),
        "contact": _contacts(rng, options.data),
        "element": _elements(rng, options.data, held),
    }
    collect(sources, options)


def _small(rng: np.random.Generator, held: set[str]) -> Iterator[Row]:
    """Vibrate and stretch small molecules, the larger the fewer times."""
    shapes = [s for smiles in _SMALL.split() if (s := embed(smiles, held, seed=1)) is not None]
    for name in g2.names:
        atoms = molecule(name)
        closed_shell = atoms.get_initial_magnetic_moments().sum() == 0
        if len(atoms) <= 5 and closed_shell and set(atoms.numbers) <= KNOWN:
            smiles = _perceive(atoms)
            if smiles is not None and smiles not in held:
                shapes.append((atoms.numbers, atoms.positions, smiles))
    while True:
        numbers, positions, smiles = shapes[rng.integers(len(shapes))]
        stretched = positions * rng.uniform(0.85, 1.25)
        moved = stretched + rng.uniform(0.01, 0.15) * rng.normal(size=positions.shape)
        if (row := label(numbers, moved, smiles)) is not None:
            yield row


def _contacts(rng: np.random.Generator, data: Path) -> Iterator[Row]:
    """Push pairs of training molecules together until atoms are nearly at bonding distance."""
    shards = [dict(np.load(path)) for path in sorted(data.glob("gfn2/train-*.npz"))]
    while True:
        a, b = (_training_molecule(rng, shards[rng.integers(len(shards))]) for _ in range(2))
        numbers = np.concatenate([a[0], b[0]])
        radii = covalent_radii[a[0]][:, None] + covalent_radii[b[0]]
        turned = b[1] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        wanted = rng.uniform(0.85, 2.0)
        for distance in np.arange(25.0, 0.0, -0.1):
            other = turned + distance * direction
            ratio = np.linalg.norm(a[1][:, None] - other, axis=2) / radii
            if ratio.min() < wanted:
                break
        row = label(numbers, np.concatenate([a[1], other]), f"{a[2]}.{b[2]}")
        if row is not None:
            yield row


def _training_molecule(rng: np.random.Generator, shard: dict[str, NDArray]) -> tuple:
    """Draw a molecule of at most 16 atoms."""
    ends = np.cumsum(shard["n"])
    while True:
        index = rng.integers(len(ends))
        size, smiles = int(shard["n"][index]), str(shard["smi"][index])
        if size <= 16 and "." not in smiles:
            part = slice(ends[index] - size, ends[index])
            positions = shard["x"][part] * 1e-3
            return shard["z"][part].astype(int), positions - positions.mean(axis=0), smiles


def _elements(rng: np.random.Generator, data: Path, held: set[str]) -> Iterator[Row]:
    """Descend from distorted conformers of new molecules that hold a rarer element."""
    trained = known_smiles(data, [f"train-{k}.npz" for k in range(4)])
    pool = [s for path in sorted((data / "smiles").glob("*")) for s in read_smiles(path)]
    rare = [s for s in pool if any(x in s for x in ("P", "B", "S", "Si", "I", "F", "Cl", "p", "s"))]
    weights = np.array([_interest(smiles) for smiles in rare])
    while True:
        smiles = rare[rng.choice(len(rare), p=weights / weights.sum())]
        shape = embed(smiles, held | trained, seed=int(rng.integers(2**30)))
        if shape is None or len(shape[0]) > 45:
            continue
        numbers, positions, smiles = shape
        positions = positions + rng.uniform(0.02, 0.12) * rng.normal(size=positions.shape)
        for _ in range(3):
            row = label(numbers, positions, smiles)
            if row is None:
                break
            yield row
            positions = positions + np.clip(0.02 * row[3], -0.08, 0.08)


def _interest(smiles: str) -> float:
    """Weigh elements by how rare they are in the other shards."""
    scores = {"P": 8.0, "B": 0.0, "Si": 4.0, "I": 3.0, "S": 3.0, "s": 2.0, "Br": 3.0, "F": 1.0}
    boron = 8.0 if "B" in smiles.replace("Br", "") else 0.0
    return 0.3 + boron + sum(score for symbol, score in scores.items() if symbol in smiles)


def _perceive(atoms: Atoms) -> str | None:
    from rdkit.Chem import rdDetermineBonds

    block = f"{len(atoms)}\n\n" + "\n".join(
        f"{symbol} {x:.5f} {y:.5f} {z:.5f}"
        for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
    parsed = Chem.MolFromXYZBlock(block)
    try:
        rdDetermineBonds.DetermineBonds(parsed, charge=0)
    except (ValueError, RuntimeError):
        return None
    return Chem.MolToSmiles(Chem.RemoveHs(parsed))


if __name__ == "__main__":
    main()
