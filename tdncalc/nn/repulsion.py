"""Short-range repulsion between nuclei, so that no collision ever looks attractive."""

import torch
from torch import Tensor, nn

from tdncalc.nn.radial import envelope

__all__ = ["Repulsion"]

_SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


class Repulsion(nn.Module):
    r"""The universal potential of Ziegler, Biersack and Littmark, switched off at bonding distance.

    .. math:: E_{ij} = \frac{k_e Z_i Z_j}{r} \sum_n c_n e^{-d_n r/a}\; u(r / r_{ij}),\quad
              a = \frac{0.46850\,\text{Å}}{Z_i^{0.23} + Z_j^{0.23}}

    ("The Stopping and Range of Ions in Solids", 1985, Eqs. 2-60 and 2-65), where u is the envelope
    :func:`tdncalc.nn.radial.envelope` and :math:`r_{ij}` the sum of the covalent radii.

    Parameters
    ----------
    charges
        Nuclear charges Z by element, (n_elements,).
    radii
        Covalent radii by element in Å, (n_elements,).
    coulomb
        The Coulomb constant k_e in eV Å.
    """

    charges: Tensor
    radii: Tensor
    screening: Tensor

    def __init__(self, charges: Tensor, radii: Tensor, coulomb: float) -> None:
        super().__init__()
        self.coulomb = coulomb
        self.register_buffer("charges", charges, persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        self.register_buffer(
            "screening", torch.tensor(_SCREENING, dtype=charges.dtype).T, persistent=False
        )

    def forward(self, lengths: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the energy of each directed edge in eV, half of its pair's, (E,)."""
        z_source, z_target = self.charges[source], self.charges[target]
        scaled = lengths * (z_source**0.23 + z_target**0.23) / 0.46850
        prefactors, decays = self.screening.unbind()
        screening: Tensor = (prefactors * torch.exp(-decays * scaled[:, None])).sum(1)
        reach = self.radii[source] + self.radii[target]
        bare = self.coulomb * z_source * z_target / lengths * screening
        return bare * envelope(lengths, reach) / 2
