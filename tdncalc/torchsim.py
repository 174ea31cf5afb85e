"""Models of this package in torch-sim: ``pip install 'tdncalc[torch-sim]'``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor
from torch_sim import SimState
from torch_sim.models.interface import ModelInterface

from tdncalc.checkpoint import DEFAULT_MODEL, load_model
from tdncalc.errors import OptionError
from tdncalc.moving_batch import MovingBatch
from tdncalc.results import volumes_of
from tdncalc.structures import check

__all__ = ["TorchSimModel"]


class TorchSimModel(ModelInterface):
    """A model as torch-sim's ModelInterface: energy, forces and stress of many systems together.

    States are float64, whatever precision the network has. The lists of neighbors are kept from
    call to call while the systems of the state are the same, with a skin. Positions are compared
    and lists searched on the CPU. torch-sim knows systems that are periodic along all cell vectors
    or along none, and makes the latter of a slab that is periodic along two.

    Parameters
    ----------
    model
        Name of a bundled model, or path of a model folder.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
    dtype
        Precision of the network, ``float32`` or ``float64``.
    skin
        Å by which neighbor lists reach further than the cutoff. It changes the speed only.
    dispersion
        As for :class:`tdncalc.TDNCalculator`.
    compute_stress
        Whether stresses are wanted: not of models with direct forces.

    Raises
    ------
    ModelNotFoundError, DamagedModelError, OptionError
        As :func:`tdncalc.load_model`; OptionError also for a stress with direct forces.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "auto",
        dtype: str = "float32",
        skin: float = 1.0,
        *,
        dispersion: str | None = None,
        compute_stress: bool = True,
    ) -> None:
        super().__init__()
        self.potential = load_model(model, device=device, dtype=dtype, dispersion=dispersion)
        if compute_stress and self.potential.direct_forces:
            raise OptionError("a model with direct forces has no stress; use compute_stress=False")
        self._device, self._dtype = self.potential.device, torch.float64
        self._compute_stress, self._compute_forces = compute_stress, True
        self._skin = skin
        self._batch = MovingBatch(self.potential, skin)
        self._known: tuple[Any, ...] = ()

    def forward(self, state: SimState | dict[str, Tensor], **_kwargs: object) -> dict[str, Tensor]:
        """Evaluate the systems of a state.

        Returns
        -------
        dict
            energy (B,) in eV, forces (N, 3) in eV/Å and, if asked for, stress (B, 3, 3) in eV/Å³,
            positive under tension and zero where the cell has no volume.

        Raises
        ------
        StructureError
            A system has an element that the model does not know, or bad positions.
        OutOfMemoryError
            A single system does not fit into memory.
        """
        if isinstance(state, dict):
            state = SimState(**state, masses=torch.ones_like(state["atomic_numbers"]))
        positions = _array(state.positions)
        cells = _array(state.row_vector_cell)
        self._require_members(state, positions, cells)
        found, faults = self._batch.compute(positions, cells, stress=self._compute_stress)
        for fault in faults.values():
            raise fault
        results = {"energy": found.energy, "forces": found.forces}
        if found.strain_gradient is not None:
            volumes = np.array(volumes_of(torch.as_tensor(cells)))[:, None, None]
            symmetric = (found.strain_gradient + found.strain_gradient.transpose(0, 2, 1)) / 2
            empty = np.zeros_like(symmetric)
            results["stress"] = np.divide(symmetric, volumes, out=empty, where=volumes > 0)
        like = {"device": state.positions.device, "dtype": state.positions.dtype}
        return {name: torch.as_tensor(value).to(**like) for name, value in results.items()}

    def _require_members(
        self, state: SimState, positions: NDArray[np.float64], cells: NDArray[np.float64]
    ) -> None:
        """Make the batch anew if other systems have come."""
        numbers = state.atomic_numbers.cpu().numpy()
        systems = state.system_idx.cpu().numpy()
        pbc = np.broadcast_to(torch.as_tensor(state.pbc).cpu().numpy(), 3)
        known = (numbers.tobytes(), systems.tobytes(), pbc.tobytes())
        if known == self._known:
            return
        batch, members = MovingBatch(self.potential, self._skin), []
        for index, cell in enumerate(cells):
            own = systems == index
            atoms = Atoms(numbers[own], positions[own], cell=cell, pbc=pbc)
            check(atoms, f"system {index}")
            members.append(batch.member(atoms))
        batch.change(np.empty(0, dtype=np.bool_), members)
        self._batch, self._known = batch, known


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(tensor.detach().cpu().double().numpy())
