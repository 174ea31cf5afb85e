"""Short-range repulsion between nuclei, so that no collision ever looks attractive."""

from typing import Any

import torch
from torch import Tensor, nn

from tdncalc.nn.radial import envelope

__all__ = ["NEVER_BONDED", "SCREENING", "WALL", "Repulsion"]

SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
WALL = 50.0  # eV
# In sums of covalent radii. The shortest bonds of all (N₂, CO, C₂H₂) have 0.77.
NEVER_BONDED = 0.7


class Repulsion(nn.Module):
    r"""What two atoms feel when they come nearer than in any training structure.

    The universal potential of Ziegler, Biersack and Littmark, switched off at a reach b

    .. math:: \frac{k_e Z_i Z_j}{r} \sum_n c_n e^{-d_n r/a}\; u(r / b_{ij}),\quad
              a = \frac{0.46850\,\text{Å}}{Z_i^{0.23} + Z_j^{0.23}}

    ("The Stopping and Range of Ions in Solids", 1985, Eqs. 2-60 and 2-65) with the envelope u of
    :func:`tdncalc.nn.radial.envelope`; and, below the shortest distance s of the two elements in
    the training set, a wall :math:`W (1 - r/s)^3`. The reach is s, though from `NEVER_BONDED` to 1
    times the sum of the covalent radii: its end, where the third derivative jumps, lies below
    every bond that the network has seen.

    Parameters
    ----------
    charges
        Nuclear charges Z by element, (n_elements,).
    radii
        Covalent radii by element in Å, (n_elements,).
    coulomb
        The Coulomb constant k_e in eV Å.

    Attributes
    ----------
    shortest
        Shortest distance of each pair of elements in the training set in Å, (n_elements,
        n_elements); the sum of the covalent radii until it is measured.
    reach
        Where the universal potential ends, in Å, (n_elements, n_elements).
    """

    charges: Tensor
    radii: Tensor
    screening: Tensor
    shortest: Tensor
    reach: Tensor

    def __init__(self, charges: Tensor, radii: Tensor, coulomb: float) -> None:
        super().__init__()
        self.coulomb = coulomb
        screening = torch.tensor(SCREENING, dtype=charges.dtype).T
        self.register_buffer("charges", charges, persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        self.register_buffer("screening", screening, persistent=False)
        self.register_buffer("shortest", self._bonded())
        self.register_buffer("reach", self._bonded())
        self.register_load_state_dict_pre_hook(_with_reach)  # type: ignore[no-untyped-call]

    def measured(self, shortest: Tensor) -> None:
        """Set the shortest distances in the training set in Å, (n_elements, n_elements)."""
        bonded = self._bonded().to(self.shortest)
        self.shortest = shortest.to(self.shortest)
        self.reach = self.shortest.clamp(NEVER_BONDED * bonded, bonded)

    def _bonded(self) -> Tensor:
        """Return the sums of the covalent radii, (n_elements, n_elements)."""
        return self.radii[:, None] + self.radii

    def seen(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the shortest distance seen in training in Å, (E,), from element indices."""
        return _of_pairs(self.shortest, source, target)

    def forward(self, lengths: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the energy of each directed edge in eV, half of its pair's, (E,)."""
        z_source, z_target = self.charges[source], self.charges[target]
        scaled = lengths * (z_source**0.23 + z_target**0.23) / 0.46850
        prefactors, decays = self.screening.unbind()
        screening: Tensor = (prefactors * torch.exp(-decays * scaled[:, None])).sum(1)
        bare = self.coulomb * z_source * z_target / lengths * screening
        reach = _of_pairs(self.reach, source, target)
        wall = WALL * (1 - lengths / self.seen(source, target)).clamp_min(0) ** 3
        return (bare * envelope(lengths, reach) + wall) / 2


def _of_pairs(table: Tensor, source: Tensor, target: Tensor) -> Tensor:
    return table.flatten().index_select(0, source * len(table) + target)


def _with_reach(repulsion: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Let a state that was saved without a reach keep the sums of the covalent radii."""
    assert isinstance(repulsion, Repulsion)
    state.setdefault(f"{prefix}reach", repulsion._bonded())
