"""Make a model whose weights are the mean of those of models that went on from the same one.

Where they lie in one valley of the loss, their mean has lower errors than either, or what each is
good at (Wortsman et al., arXiv:2203.05482); whether they do, ``tdn evaluate`` tells::

    python examples/training/mean_weights.py --output .runs/mean .runs/a/model .runs/b/model
    python examples/training/mean_weights.py --output .runs/mean A B --shares 0.6 0.4
    tdn models calibrate .runs/mean TRAINING_DATA --held-out VALIDATION_DATA

The card is the first one's without errors and novelty, and says what the mean is of.
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tdncalc.architectures import Network
from tdncalc.cards import read_card
from tdncalc.checkpoint import load_network, save_model
from tdncalc.tdn import TDN

MEASURED = ("errors", "physics", "novelty")


def main() -> None:
    """Read them, and write their mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--shares", nargs="+", type=float, help="of each model; equal if not given")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    shares = options.shares or [1 / len(options.models)] * len(options.models)
    if len(shares) != len(options.models) or abs(sum(shares) - 1) > 1e-6:
        parser.error("--shares must have one number for each model, and their sum must be 1")
    try:
        mean(options.models, shares, options.output)
    except ValueError as error:
        parser.error(str(error))


def mean(models: Sequence[str], shares: Sequence[float], output: Path) -> None:
    """Write the mean of some models' weights; a ValueError names one that does not fit the first.

    What is measured on training sets (bounds, novelty) has to be calibrated anew.
    """
    networks = [load_network(model) for model in models]
    for model, network in zip(models, networks, strict=True):
        if not alike(network, networks[0]):
            raise ValueError(f"{model} has another network than {models[0]}: no mean can be taken")
    result = copy.deepcopy(networks[0])
    states = [averaged(network) for network in networks]
    with torch.no_grad():
        for name, value in averaged(result).items():
            value.copy_(
                sum(share * state[name] for share, state in zip(shares, states, strict=True))
            )
    if isinstance(result, TDN):
        result.unbind()
    card = {key: value for key, value in read_card(models[0]).items() if key not in MEASURED}
    parts = [
        {"model": model, "sha256": read_card(model)["sha256"], "share": share}
        for model, share in zip(models, shares, strict=True)
    ]
    save_model(output, result, card | {"mean_of": parts})


def averaged(network: Network) -> dict[str, Tensor]:
    """Return what of a network is averaged: its parameters and reference energies."""
    energies = {"reference_energies": network.get_buffer("reference_energies")}
    return dict(network.named_parameters()) | energies


def alike(network: Network, other: Network) -> bool:
    """Tell whether two networks have the same configuration, and repulsions that end alike."""
    if network.config != other.config:
        return False
    one, two = dict(network.named_buffers()), dict(other.named_buffers())
    return all(one[name].equal(two[name]) for name in one if name.endswith("repulsion.reach"))


if __name__ == "__main__":
    main()
