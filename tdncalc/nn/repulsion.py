"""Short-range repulsion between nuclei, so that no collision ever looks attractive."""

import torch
from torch import Tensor, nn

from tdncalc.nn.radial import envelope

__all__ = ["SCREENING", "WALL", "Repulsion"]

SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
WALL = 50.0  # eV


class Repulsion(nn.Module):
    r"""What two atoms feel when they come nearer than in any training structure.

    The universal potential of Ziegler, Biersack and Littmark, switched off at bonding distance

    .. math:: \frac{k_e Z_i Z_j}{r} \sum_n c_n e^{-d_n r/a}\; u(r / (R_i + R_j)),\quad
              a = \frac{0.46850\,\text{Å}}{Z_i^{0.23} + Z_j^{0.23}}

    ("The Stopping and Range of Ions in Solids", 1985, Eqs. 2-60 and 2-65) with the envelope u of
    :func:`tdncalc.nn.radial.envelope` and covalent radii R; and, below the shortest distance s of
    the two elements in the training set, a wall :math:`W (1 - r/s)^3`.

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
    """

    charges: Tensor
    radii: Tensor
    screening: Tensor
    shortest: Tensor

    def __init__(self, charges: Tensor, radii: Tensor, coulomb: float) -> None:
        super().__init__()
        self.coulomb = coulomb
        screening = torch.tensor(SCREENING, dtype=charges.dtype).T
        self.register_buffer("charges", charges, persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        self.register_buffer("screening", screening, persistent=False)
        self.register_buffer("shortest", radii[:, None] + radii[None, :])

    def seen(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the shortest distance seen in training in Å, (E,), from element indices."""
        pair = source * len(self.shortest) + target
        return self.shortest.flatten().index_select(0, pair)

    def forward(self, lengths: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the energy of each directed edge in eV, half of its pair's, (E,)."""
        z_source, z_target = self.charges[source], self.charges[target]
        scaled = lengths * (z_source**0.23 + z_target**0.23) / 0.46850
        prefactors, decays = self.screening.unbind()
        screening: Tensor = (prefactors * torch.exp(-decays * scaled[:, None])).sum(1)
        bare = self.coulomb * z_source * z_target / lengths * screening
        reach = self.radii[source] + self.radii[target]
        wall = WALL * (1 - lengths / self.seen(source, target)).clamp_min(0) ** 3
        return (bare * envelope(lengths, reach) + wall) / 2
