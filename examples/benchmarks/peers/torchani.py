"""ANI-2x, eight networks; its weights are not in the package, so they are random."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "ANI-2x (8 networks)"
PACKAGE = "torchani"
MODEL = "ANI-2x, 8 networks; random weights, float32"
ELEMENTS = "H C N O F S Cl"
SETUP = ["torchani==2.9.0", "ase>=3.25"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator: what ``torchani.models.ANI2x`` builds before it loads weights."""
    import torch
    from torchani.arch import Assembler
    from torchani.utils import SYMBOLS_2X

    torch.manual_seed(0)
    assembler = Assembler(periodic_table_index=True)
    assembler.set_symbols(SYMBOLS_2X)
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial="ani2x", angular="ani2x", strategy="pyaev")
    assembler.set_atomic_networks(ctor="ani2x")
    assembler.set_neighborlist("adaptive")
    assembler.set_gsaes_as_self_energies("wb97x-631gd")
    model = assembler.assemble(8).requires_grad_(False).to(torch.float32)
    return model.ase()
