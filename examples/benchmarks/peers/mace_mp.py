"""The architecture of MACE-MP-0 small: its weights are not in the package, so they are random."""

import os

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "MACE-MP small"
PACKAGE = "mace-torch"
MODEL = "MACE-MP-0 small: 128x0e, l_max 3, cutoff 6, 89 elements; random weights, float32"
ENVIRONMENT = "mace"
SETUP = ["mace-torch==0.3.16"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    # the e3nn that MACE pins reads a table of its own with torch.load, which torch now refuses
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import torch
    from e3nn import o3
    from mace.calculators import MACECalculator
    from mace.modules import ScaleShiftMACE, gate_dict, interaction_classes

    residual = interaction_classes["RealAgnosticResidualInteractionBlock"]
    numbers = [*range(1, 84), *range(89, 95)]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    model = ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=residual,
        interaction_cls_first=residual,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps("128x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=gate_dict["silu"],
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=62.0,
        atomic_numbers=numbers,
        correlation=3,
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    return MACECalculator(models=[model], device="cpu", default_dtype="float32")
