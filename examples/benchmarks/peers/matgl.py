"""TensorNet of MatGL in the size of its MatPES models; random weights."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "TensorNet (MatGL)"
PACKAGE = "matgl"
MODEL = "2 blocks of 64, cutoff 5, 89 elements; random weights, float32"
SETUP = ["matgl==4.1.2"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    import torch
    from matgl.apps.pes import Potential
    from matgl.ext.ase import PESCalculator
    from matgl.models import TensorNet

    torch.manual_seed(0)
    model = TensorNet(
        units=64,
        nblocks=2,
        num_rbf=32,
        max_n=3,
        max_l=3,
        rbf_type="SphericalBessel",
        use_smooth=True,
        cutoff=5.0,
        is_intensive=False,
    ).eval()
    potential = Potential(model, calc_stresses=False).eval()
    return PESCalculator(potential, stress_unit="eV/A3")
