"""The 1M network of MatterSim; its weights are not in the package, so they are random."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "MatterSim 1M"
PACKAGE = "mattersim"
MODEL = "MatterSim v1 1M: M3GNet, 3 blocks of 128, cutoffs 5 and 4; random weights, float32"
SETUP = ["mattersim==1.2.3"]
REMOVE = ["torchvision", "torchaudio"]  # they come for another build of torch


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    import torch
    from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
    from mattersim.forcefield.potential import MatterSimCalculator, Potential

    torch.manual_seed(0)
    model = M3Gnet(num_blocks=3, units=128, max_l=4, max_n=4, cutoff=5.0, device="cpu").eval()
    potential = Potential(model, device="cpu")
    return MatterSimCalculator(potential, compute_stress=False, device="cpu")
