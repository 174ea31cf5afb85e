"""NequIP in a small size, not compiled; random weights."""

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

LABEL = "NequIP (l = 1, 3 × 64)"
PACKAGE = "nequip"
MODEL = "3 layers of 64 features, l_max 1, cutoff 5; random weights, float32, not compiled"
SETUP = ["nequip==0.19.1"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    import torch
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    symbols = sorted({chemical_symbols[number] for number in system.numbers})
    model = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        r_max=5.0,
        type_names=symbols,
        num_layers=3,
        l_max=1,
        num_features=64,
        avg_num_neighbors=20.0,
    ).eval()
    transforms = [
        ChemicalSpeciesToAtomTypeMapper(symbols),
        NeighborListTransform(r_max=5.0),
    ]
    return NequIPCalculator(model, device=torch.device("cpu"), transforms=transforms)
