"""Twenty fragments of drugs with the bond that is turned: name, SMILES, four atoms in a row."""

__all__ = ["FRAGMENTS"]

# The atoms are counted along the SMILES, without the hydrogens.
FRAGMENTS = {
    "butane": ("CCCC", (0, 1, 2, 3)),
    "1-butene": ("CCC=C", (0, 1, 2, 3)),
    "butadiene": ("C=CC=C", (0, 1, 2, 3)),
    "styrene": ("C=Cc1ccccc1", (0, 1, 2, 3)),
    "biphenyl": ("c1ccccc1-c1ccccc1", (4, 5, 6, 7)),
    "2-phenylpyridine": ("c1ccccc1-c1ccccn1", (4, 5, 6, 7)),
    "ethylbenzene": ("CCc1ccccc1", (0, 1, 2, 3)),
    "anisole": ("COc1ccccc1", (0, 1, 2, 3)),
    "thioanisole": ("CSc1ccccc1", (0, 1, 2, 3)),
    "N-methylaniline": ("CNc1ccccc1", (0, 1, 2, 3)),
    "benzamide": ("NC(=O)c1ccccc1", (0, 1, 3, 4)),
    "acetanilide": ("CC(=O)Nc1ccccc1", (1, 3, 4, 5)),
    "N-methylacetamide": ("CNC(C)=O", (0, 1, 2, 3)),
    "methyl acetate": ("COC(C)=O", (0, 1, 2, 3)),
    "methyl benzoate": ("COC(=O)c1ccccc1", (1, 2, 4, 5)),
    "N-methylurea": ("CNC(N)=O", (0, 1, 2, 3)),
    "ethylene glycol dimethyl ether": ("COCCOC", (1, 2, 3, 4)),
    "2-fluoroethanol": ("OCCF", (0, 1, 2, 3)),
    "benzenesulfonamide": ("NS(=O)(=O)c1ccccc1", (0, 1, 4, 5)),
    "N-methylmethanesulfonamide": ("CNS(C)(=O)=O", (0, 1, 2, 3)),
}
