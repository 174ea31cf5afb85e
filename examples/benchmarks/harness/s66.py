"""The 66 dimers of the S66 set, built anew: Rezac, Riley, Hobza, JCTC 7, 2427 (2011)."""

from collections import Counter

__all__ = ["MONOMERS", "dimers"]

MONOMERS = {
    "water": "O",
    "MeOH": "CO",
    "MeNH2": "CN",
    "peptide": "CNC(C)=O",
    "uracil": "O=c1cc[nH]c(=O)[nH]1",
    "pyridine": "c1ccncc1",
    "AcOH": "CC(=O)O",
    "AcNH2": "CC(N)=O",
    "benzene": "c1ccccc1",
    "ethene": "C=C",
    "ethyne": "C#C",
    "pentane": "CCCCC",
    "neopentane": "CC(C)(C)C",
    "cyclopentane": "C1CCCC1",
}
# In the order of the set: hydrogen bonds (23), dispersion (23), both (20).
_PAIRS = """
water-water water-MeOH water-MeNH2 water-peptide MeOH-MeOH MeOH-MeNH2 MeOH-peptide MeOH-water
MeNH2-MeOH MeNH2-MeNH2 MeNH2-peptide MeNH2-water peptide-MeOH peptide-MeNH2 peptide-peptide
peptide-water uracil-uracil water-pyridine MeOH-pyridine AcOH-AcOH AcNH2-AcNH2 AcOH-uracil
AcNH2-uracil
benzene-benzene pyridine-pyridine uracil-uracil benzene-pyridine benzene-uracil pyridine-uracil
benzene-ethene uracil-ethene uracil-ethyne pyridine-ethene pentane-pentane neopentane-pentane
neopentane-neopentane cyclopentane-neopentane cyclopentane-cyclopentane benzene-cyclopentane
benzene-neopentane uracil-pentane uracil-cyclopentane uracil-neopentane ethene-pentane
ethyne-pentane peptide-pentane
benzene-benzene pyridine-pyridine benzene-pyridine benzene-ethyne ethyne-ethyne benzene-AcOH
benzene-AcNH2 benzene-water benzene-MeOH benzene-MeNH2 benzene-peptide pyridine-pyridine
ethyne-water ethyne-AcOH pentane-AcOH pentane-AcNH2 benzene-AcOH peptide-ethene pyridine-ethyne
MeNH2-pyridine
"""


def dimers() -> list[tuple[str, str, int]]:
    """Return the names of the two molecules of each dimer, and which of their minima it is.

    The set has some pairs in several arrangements: of those the lowest distinct minima are taken,
    counted from 0.
    """
    seen: Counter[frozenset[str]] = Counter()
    found = []
    for pair in _PAIRS.split():
        one, other = pair.split("-")
        key = frozenset((one, other))
        found.append((one, other, seen[key]))
        seen[key] += 1
    return found
