"""Orb v3, direct, at most 20 neighbors; random weights."""

from ase import Atoms
from ase.calculators.calculator import Calculator

LABEL = "Orb v3 direct, 20 neighbors"
PACKAGE = "orb-models"
MODEL = "orb-v3-direct-20-omat; random weights, float32, torch.compile"
ENVIRONMENT = "orb"
SETUP = ["orb-models==0.5.5"]


def calculator(system: Atoms) -> Calculator:
    """Return the calculator: what the package builds before it loads weights."""
    import torch
    from orb_models.forcefield import pretrained
    from orb_models.forcefield.atomic_system import SystemConfig
    from orb_models.forcefield.calculator import ORBCalculator

    torch.manual_seed(0)
    config = SystemConfig(radius=6.0, max_num_neighbors=20)
    model = pretrained.orb_v3_direct_architecture(device="cpu", system_config=config)
    model = model.eval().requires_grad_(False)
    torch.set_float32_matmul_precision("high")
    model.compile(mode="default", dynamic=True)  # as its loader does, on a CPU too
    return ORBCalculator(model, device="cpu")
