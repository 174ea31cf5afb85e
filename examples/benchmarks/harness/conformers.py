"""Conformers of molecules from SMILES, by RDKit."""

import numpy as np
from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

__all__ = ["conformers", "embed", "to_atoms"]

APART = 0.5  # Å: RMSD of heavy atoms below which two conformers are one


def embed(smiles: str, number: int, seed: int = 1) -> Chem.Mol:
    """Return a molecule with hydrogens and conformers at minima of the MMFF94 force field.

    Stereocenters and double bonds that the SMILES leaves open are all as in the first conformer.
    RDKit multiplies `seed` with the number of a conformer: 0 makes them all alike.
    """
    RDLogger.DisableLog("rdApp.*")
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=seed) != 0:
        raise ValueError(f"RDKit finds no geometry of {smiles}")
    Chem.AssignStereochemistryFrom3D(molecule)
    AllChem.EmbedMultipleConfs(molecule, number, randomSeed=seed, pruneRmsThresh=APART)
    AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=500)
    return molecule


def to_atoms(molecule: Chem.Mol, conformer: int) -> Atoms:
    """Return a conformer as Atoms."""
    positions = molecule.GetConformer(conformer).GetPositions()
    return Atoms([atom.GetAtomicNum() for atom in molecule.GetAtoms()], positions)


def conformers(smiles: str, number: int, seed: int = 1) -> list[Atoms]:
    """Return up to so many distinct conformers, none within 0.5 Å of another."""
    molecule = embed(smiles, 5 * number, seed)
    heavy = Chem.RemoveHs(molecule)
    found: list[int] = []
    for conformer in (one.GetId() for one in molecule.GetConformers()):
        apart = [AllChem.GetBestRMS(heavy, heavy, conformer, other) for other in found]
        if len(found) < number and np.all(np.array(apart) > APART):
            found.append(conformer)
    return [to_atoms(molecule, conformer) for conformer in found]
