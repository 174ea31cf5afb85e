"""From a checkpoint of the published code to a model folder whose card says what to expect."""

from pathlib import Path
from typing import Any

import ase.data
import torch
from ase import units

from tdncalc.architectures import in_single_precision
from tdncalc.checkpoint import save_model
from tdncalc.official.network import published_network
from tdncalc.official.reading import Checkpoint, read_checkpoint
from tdncalc.official.settings import REFERENCES, ImportSettings
from tdncalc.potential import Potential
from tdncalc.published.config import MAX_ELEMENTS
from tdncalc.published.network import PublishedTDN
from tdncalc.selftest.checks import selftest

__all__ = ["import_checkpoint"]


def import_checkpoint(
    path: str | Path, folder: str | Path, settings: ImportSettings | None = None
) -> dict[str, Any]:
    """Make a model folder of a checkpoint, with the outcome of :func:`selftest` in its card.

    Parameters
    ----------
    path
        A state dict or training checkpoint of the published code. It is never trusted: nothing but
        tensors is read.
    folder
        The model folder. Nothing is written unless all went well.
    settings
        What the checkpoint does not hold.

    Returns
    -------
    dict
        The card as written.

    Raises
    ------
    CheckpointError
        The file is no such checkpoint, or is damaged, or holds a tensor too many or too few.
    OptionError, ConfigError
        A setting is outside what is allowed.
    OutputError
        The folder cannot be written.
    """
    settings = settings or ImportSettings()
    checkpoint = read_checkpoint(path, weights=settings.weights)
    network, sizes = published_network(checkpoint, _config(settings, checkpoint))
    for symbol, energy in REFERENCES[settings.references].items():
        network.reference_energies[ase.data.atomic_numbers[symbol]] = energy * units.Hartree
    card = {
        "name": Path(folder).name,
        "description": "Imported from a checkpoint of the published TDN (arXiv:2507.01131)",
        **settings.card,
        "imported": {
            "file": checkpoint.path.name,
            "weights": settings.weights,
            "has_averaged_weights": checkpoint.has_average,
            "forces_in_training": checkpoint.forces or "not known",
            "references": settings.references,
            "rank": sizes.rank,
        },
    }
    card["selftest"] = {"dtype": "float64", "device": "cpu", "checks": _checks(network, card)}
    return save_model(folder, in_single_precision(network), card)


def _config(settings: ImportSettings, checkpoint: Checkpoint) -> dict[str, Any]:
    names = ("cutoff", "energy", "max_neighbors", "truncation", "keep_isolated", "n_avg", "d_avg")
    every = tuple(ase.data.chemical_symbols[1:MAX_ELEMENTS])
    return {
        **{name: getattr(settings, name) for name in names},
        "product": settings.product,
        "elements": settings.elements or tuple(REFERENCES[settings.references]) or every,
        "forces": settings.forces or checkpoint.forces or "direct",
    }


def _checks(network: PublishedTDN, card: dict[str, Any]) -> list[dict[str, Any]]:
    """Check the physics of a network in float64, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        double = PublishedTDN(network.config, network.coupling).double()
    double.load_state_dict(network.state_dict())
    potential = Potential(double, card, device=torch.device("cpu"), dtype=torch.float64)
    return [check.to_dict() for check in selftest(potential)]
