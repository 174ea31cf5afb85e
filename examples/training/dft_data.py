"""Compute small molecules and pairs of them with a hybrid functional, for ``organic-dft``.

Structures of the GFN2-xTB set, and of the shards of ``--pool``, with few heavy atoms, one of each
molecule, hot and cold, and the energies and forces of wB97M-D3(BJ)/def2-TZVP at them: the
functional of SPICE. The Coulomb and exchange integrals are fitted. On a finer grid than 2 the
forces change by 2 meV/Å at most, and 0.5 on average; those of 1 are 2.4 from those of 2 on average,
in two thirds of the time. Needs ``pip install pyscf pyscf-dispersion``; a quarter of a minute of
one core a structure of five heavy atoms, a whole one with seven::

    python examples/training/dft_data.py --data FOLDER --output part.extxyz --seed 1 --most 5

FOLDER holds ``gfn2/*.npz``. ``--held-out`` takes molecules of its test set. With ``--models``,
which began to learn from some labels with different seeds, structures are drawn from the tenth
whose forces they disagree on most: query by committee (Seung et al., COLT 1992, 287). What the
output has already, and molecules in the files of ``--without``, are not computed again, and each
structure is written as soon as it is done.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pyscf import dft, gto
from scipy.constants import physical_constants

from tdncalc import load_model

HARTREE = physical_constants["Hartree energy in eV"][0]
BOHR = physical_constants["Bohr radius"][0] * 1e10
FUNCTIONAL, BASIS = "wb97m-d3bj", "def2-tzvp"
# How often a kind is drawn; those of the set that are not named here are large. The last three are
# of more_molecules.py and water_clusters.py.
KINDS = {
    "dimer": 0.25,
    "qm9": 0.25,
    "rare": 0.2,
    "drug": 0.05,
    "relax": 0.1,
    "spice": 0.15,
    "eased": 0.1,
    "thermal": 0.5,
    "water": 0.5,
}
DISPUTED = 0.1  # of the structures, where models disagree most


def main() -> None:
    """Compute one structure after the other."""
    options = _options()
    done = read(options.output, ":") if options.output.exists() else []
    number = len(done)
    others = [atoms for path in options.without for atoms in read(path, ":")]
    names = {atoms.info["smiles"] for atoms in done + others}
    for atoms in _drawn(options):
        if number >= options.structures:
            break
        if atoms.info["smiles"] not in names and (labelled := computed(atoms, options.grid)):
            write(options.output, labelled, append=True)
            number += 1
            print(f"{number}: {atoms.info['smiles']}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="an extended XYZ file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--structures", type=int, default=300)
    parser.add_argument("--fewest", type=int, default=1, help="heavy atoms")
    parser.add_argument("--most", type=int, default=7, help="heavy atoms")
    parser.add_argument("--elements", nargs="+", help="take no structure with others")
    parser.add_argument("--holding", nargs="+", help="take only structures with one of these")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--models", nargs="+", default=[], help="draw where these disagree")
    parser.add_argument("--without", type=Path, nargs="+", default=[], help="files of labels")
    parser.add_argument("--grid", type=int, default=2, choices=range(10), help="PySCF's level")
    parser.add_argument("--pool", type=Path, nargs="+", default=[], help="more shards")
    parser.add_argument("--held-out", action="store_true", help="of the test set's molecules")
    return parser.parse_args()


def _drawn(options: argparse.Namespace) -> Iterator[Atoms]:
    """Draw structures, the kinds as often as `KINDS` says, and each molecule once."""
    rng = np.random.default_rng(options.seed)
    names = ["test"] if options.held_out else [f"train-{k}" for k in range(4)]
    shards = [options.data / "gfn2" / f"{name}.npz" for name in names] + options.pool
    found: dict[str, list[Atoms]] = {kind: [] for kind in options.kinds}
    for shard in shards:
        for atoms in _small(shard, options.fewest, options.most):
            kind, held = atoms.info["kind"].split("-")[0], set(atoms.symbols)
            wanted = held <= set(options.elements or held) and held & set(options.holding or held)
            if kind in found and wanted:
                found[kind].append(atoms)
    if options.models:
        found = disputed(found, options.models)
    left = {kind: rng.permutation(len(some)).tolist() for kind, some in found.items() if some}
    seen: set[str] = set()
    while left:
        shares = np.array([KINDS[kind] for kind in left])
        kind = str(rng.choice(list(left), p=shares / shares.sum()))
        atoms = found[kind][left[kind].pop()]
        if not left[kind]:
            del left[kind]
        if atoms.info["smiles"] not in seen:
            seen.add(atoms.info["smiles"])
            yield atoms


def _small(path: Path, fewest: int, most: int) -> Iterator[Atoms]:
    """Read the structures of a shard that have so many heavy atoms."""
    shard = dict(np.load(path))
    ends = np.cumsum(shard["n"])
    for end, size, kind, smiles in zip(ends, shard["n"], shard["kind"], shard["smi"], strict=True):
        numbers = shard["z"][end - size : end].astype(int)
        if fewest <= (numbers > 1).sum() <= most:
            positions = shard["x"][end - size : end] * 1e-3
            yield Atoms(numbers, positions, info={"smiles": str(smiles), "kind": str(kind)})


def disputed(structures: dict[str, list[Atoms]], models: list[str]) -> dict[str, list[Atoms]]:
    """Return those of each kind on whose forces the models disagree most.

    By the standard deviation of the force components between the models, averaged over a structure.
    """
    committee = [load_model(model) for model in models]
    most = {}
    for kind, some in structures.items():
        said = [model.evaluate(some, properties=("energy", "forces")) for model in committee]
        forces = ([result["forces"] for result in of_one] for of_one in zip(*said, strict=True))
        spread = np.array([np.std(of_one, axis=0).mean() for of_one in forces])
        order = np.argsort(-spread)[: round(DISPUTED * len(some))]
        most[kind] = [some[i] for i in order]
        print(f"{kind}: {len(order)} of {len(some)}, {spread.mean():.3f} eV/Å apart on average")
    return most


def computed(atoms: Atoms, grid: int) -> Atoms | None:
    """Return a structure with its energy and forces; None if the orbitals do not converge."""
    places = zip(atoms.symbols, atoms.positions.tolist(), strict=True)
    core = {"I": BASIS} if "I" in atoms.symbols else {}
    molecule = gto.M(atom=list(places), basis=BASIS, ecp=core, verbose=0, max_memory=6000)
    orbitals = dft.RKS(molecule, xc=FUNCTIONAL).density_fit()
    density = None
    for level, tolerance in ((0, 1e-4), (grid, 1e-6)):  # most of the way on a coarse grid
        orbitals.grids.reset()
        orbitals.grids.level, orbitals.conv_tol = level, tolerance
        energy = orbitals.kernel(dm0=density) * HARTREE
        density = orbitals.make_rdm1()
    if not orbitals.converged:
        return None
    forces = -orbitals.nuc_grad_method().kernel() * HARTREE / BOHR
    forces -= forces.mean(axis=0)  # what the grid adds
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(labelled, energy=energy, forces=forces)
    return labelled


if __name__ == "__main__":
    main()
