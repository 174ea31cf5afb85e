"""MACE at a published size with random weights; runs in the environment of MACE."""

import os
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator


def random_mace(
    numbers: list[int], *, channels: int, cutoff: float, n_radial: int, n_neighbors: float
) -> Calculator:
    """Return a calculator of what `mace_network` returns."""
    model = mace_network(
        numbers, channels=channels, cutoff=cutoff, n_radial=n_radial, n_neighbors=n_neighbors
    )
    from mace.calculators import MACECalculator  # after what its e3nn needs is set

    return MACECalculator(models=[model], device="cpu", default_dtype="float32")


def mace_network(
    numbers: list[int],
    *,
    channels: int,
    cutoff: float,
    n_radial: int,
    n_neighbors: float,
    energy_scale: float = 1.0,
) -> Any:  # noqa: ANN401 - torch is imported later
    """Return a network of two layers, l_max 3, scalar features and correlation 3."""
    # the e3nn that MACE pins reads a table of its own with torch.load, which torch now refuses
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import torch
    from e3nn import o3
    from mace.modules import ScaleShiftMACE, gate_dict, interaction_classes

    residual = interaction_classes["RealAgnosticResidualInteractionBlock"]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    return ScaleShiftMACE(
        r_max=cutoff,
        num_bessel=n_radial,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=residual,
        interaction_cls_first=residual,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(f"{channels}x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=gate_dict["silu"],
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=n_neighbors,
        atomic_numbers=numbers,
        correlation=3,
        radial_type="bessel",
        atomic_inter_scale=energy_scale,
        atomic_inter_shift=0.0,
    )
