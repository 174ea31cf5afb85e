"""TensorNet of TorchMD-Net in its published size; random weights."""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

LABEL = "TensorNet (TorchMD-Net)"
PACKAGE = "torchmd-net"
MODEL = "2 layers of 128, 32 radial functions, cutoff 4.5; random weights, float32"
SETUP = ["torchmd-net==3.1.0", "ase>=3.25"]
SIZES = {
    "model": "tensornet",
    "embedding_dimension": 128,
    "num_layers": 2,
    "num_rbf": 32,
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "activation": "silu",
    "cutoff_lower": 0.0,
    "cutoff_upper": 4.5,
    "max_z": 100,
    "max_num_neighbors": 64,
    "precision": 32,
    "equivariance_invariance_group": "O(3)",
    "prior_model": None,
    "atom_filter": -1,
    "derivative": True,
    "output_model": "Scalar",
    "reduce_op": "add",
}


class TensorNetCalculator(Calculator):
    """The package has no calculator for ASE; this is the shortest."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - torch is imported later
        super().__init__()
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy and forces."""
        import torch

        super().calculate(atoms, properties, system_changes)
        box = None
        if self.atoms.pbc.all():
            box = torch.tensor(np.array(self.atoms.cell), dtype=torch.float32)
        positions = torch.tensor(self.atoms.positions, dtype=torch.float32)
        energy, forces = self.model(torch.tensor(self.atoms.numbers), positions, box=box)
        self.results = {"energy": energy.item(), "forces": forces.detach().numpy()}


def calculator(system: Atoms) -> Calculator:
    """Return the calculator."""
    import torch
    from torchmdnet.models.model import create_model

    torch.manual_seed(0)
    return TensorNetCalculator(create_model(dict(SIZES)).eval())
