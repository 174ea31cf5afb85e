"""Structures labelled with GFN2-xTB, and the files that hold them, for the scripts beside."""

import argparse
import gzip
import itertools
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem
from tblite.interface import Calculator

BOHR, HARTREE = 0.529177210903, 27.211386245988
ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
KNOWN = {atomic_numbers[symbol] for symbol in ELEMENTS}
# The fragments of examples/benchmarks/torsions.py.
TORSIONS = (
    "CCCC CCC=C C=CC=C C=Cc1ccccc1 c1ccccc1-c1ccccc1 c1ccccc1-c1ccccn1 CCc1ccccc1 COc1ccccc1 "
    "CSc1ccccc1 CNc1ccccc1 NC(=O)c1ccccc1 CC(=O)Nc1ccccc1 CNC(C)=O COC(C)=O COC(=O)c1ccccc1 "
    "CNC(N)=O COCCOC OCCF NS(=O)(=O)c1ccccc1 CNS(C)(=O)=O"
)
ROTATABLE = Chem.MolFromSmarts("[!$([D1])]-,:;!@[!$([D1])]")
MAX_FORCE = 30.0  # eV/Å: beyond it the labels say nothing about chemistry
Row = tuple[NDArray, NDArray, float, NDArray, str]  # numbers, positions, energy, forces, SMILES


def label(numbers: NDArray, positions: NDArray, smiles: str) -> Row | None:
    """Compute a structure at rounded positions; None if it fails or its forces are too large."""
    positions = np.round(positions - positions.mean(axis=0), 3)
    found = gfn2(numbers, positions)
    if found is None:
        return None
    energy, forces = found
    if not np.abs(forces).max() < MAX_FORCE or np.abs(positions).max() > 32:
        return None
    return numbers, positions, energy, forces, smiles


def gfn2(
    numbers: NDArray, positions: NDArray, *, unpaired: int = 0
) -> tuple[float, NDArray] | None:
    """Return energy (eV) and forces (eV/Å) of neutral atoms; None if it does not converge."""
    try:
        calculator = Calculator("GFN2-xTB", numbers, positions / BOHR, uhf=unpaired)
        calculator.set("verbosity", 0)
        result = calculator.singlepoint()
    except RuntimeError:
        return None
    forces = -np.asarray(result.get("gradient")) * HARTREE / BOHR
    return float(result.get("energy")) * HARTREE, forces


def embed(smiles: str, excluded: set[str], seed: int) -> tuple[NDArray, NDArray, str] | None:
    """Make a neutral closed-shell molecule's shape by a force field; None where it cannot be."""
    made = embed_several(smiles, excluded, seed, 1)
    return None if made is None else (made[0], made[1][0], made[2])


def embed_several(
    smiles: str, excluded: set[str], seed: int, number: int
) -> tuple[NDArray, list[NDArray], str] | None:
    """Make conformers of a neutral closed-shell molecule; None where it has none."""
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or "." in smiles or Chem.GetFormalCharge(parsed) != 0:
        return None
    canonical = Chem.MolToSmiles(parsed)
    if canonical in excluded or any(atom.GetNumRadicalElectrons() for atom in parsed.GetAtoms()):
        return None
    full = Chem.AddHs(parsed)
    numbers = np.array([atom.GetAtomicNum() for atom in full.GetAtoms()])
    if not set(numbers.tolist()) <= KNOWN:
        return None
    if not list(AllChem.EmbedMultipleConfs(full, number, randomSeed=seed)):
        return None
    if AllChem.UFFHasAllMoleculeParams(full):
        AllChem.UFFOptimizeMoleculeConfs(full, maxIters=200)
    return numbers, [conformer.GetPositions() for conformer in full.GetConformers()], canonical


def known_smiles(data: Path, shards: tuple[str, ...] | list[str]) -> set[str]:
    """Return the canonical SMILES of all molecules in some shards, of pairs those of both."""
    labels = {str(s) for name in shards for s in np.unique(np.load(data / "gfn2" / name)["smi"])}
    found = set()
    for part in {part for label in labels for part in label.split(".")}:
        parsed = Chem.MolFromSmiles(part)
        found |= {part} if parsed is None else {part, Chem.MolToSmiles(parsed)}
    return found


def candidates(data: Path, shards: tuple[str, ...] | None = None) -> tuple[list[str], set[str]]:
    """Return the SMILES to draw from, and what is not to be taken.

    That is what is in some shards of ``gfn2``, in all if none is named, and the fragments of the
    torsion benchmark.
    """
    pool = [s for path in sorted((data / "smiles").glob("*")) for s in read_smiles(path)]
    names = shards or [path.name for path in sorted((data / "gfn2").glob("*.npz"))]
    fragments = {Chem.CanonSmiles(smiles) for smiles in TORSIONS.split()}
    return pool, known_smiles(data, names) | fragments


def read_smiles(path: Path) -> list[str]:
    """Return the first column of a list of molecules, packed or not."""
    openers = {".xz": lzma.open, ".gz": gzip.open}
    with openers.get(path.suffix, open)(path, "rt") as file:
        return [fields[0] for line in file if (fields := line.replace(",", " ").split())]


def parser(description: str, sizes: Mapping[str, int]) -> argparse.ArgumentParser:
    """Return the options that all scripts have: folders, the seed, and how many of each kind."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--seed", type=int, default=0)
    for kind, number in sizes.items():
        made.add_argument(f"--{kind}", type=int, default=number)
    return made


def collect(sources: Mapping[str, Iterator[Row]], options: argparse.Namespace) -> None:
    """Take as many rows of each kind as the options say, and write them."""
    rows = []
    for kind, source in sources.items():
        found = [(*row, kind) for row in itertools.islice(source, getattr(options, kind))]
        print(f"{kind}: {len(found)} structures", flush=True)
        rows += found
    write(options.output, rows)


def write(path: Path, rows: list[tuple]) -> None:
    """Write rows and their kinds as a packed shard: mÅ, eV and meV/Å."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        n=np.array([len(row[0]) for row in rows], dtype=np.int16),
        z=np.concatenate([row[0] for row in rows]).astype(np.uint8),
        x=np.round(np.concatenate([row[1] for row in rows]) * 1000).astype(np.int16),
        e=np.array([row[2] for row in rows]),
        f=np.round(np.concatenate([row[3] for row in rows]) * 1000).astype(np.int16),
        kind=np.array([row[5] for row in rows]),
        smi=np.array([row[4] for row in rows]),
    )
    print(f"wrote {path}: {len(rows)} structures", flush=True)
