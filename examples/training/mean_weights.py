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
    if len(shares) != len(options.models) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        parser.error("--shares must be positive, one for each model, and their sum must be 1")
    try:
        mean(options.models, shares, options.output)
    except ValueError as error:
        parser.error(str(error))


def mean(models: Sequence[str], shares: Sequence[float], output: Path) -> None:
    """Write the mean of some models' weights, reference energies and ends of the repulsion.

    What is measured on training sets (bounds, novelty) has to be calibrated anew. A ValueError
    names a model whose network is not that of the first.
    """
    networks = [load_network(model) for model in models]
    result = copy.deepcopy(networks[0])
    for model, network in zip(models, networks, strict=True):
        if network.config != result.config:
            raise ValueError(f"{model} has another network than {models[0]}: no mean can be taken")
        if isinstance(network, TDN):
            network.unbind()
    states = [network.state_dict() for network in networks]
    for name, value in result.state_dict().items():
        parts = [share * state[name] for share, state in zip(shares, states, strict=True)]
        value.copy_(torch.stack(parts).sum(0))
    card = {key: value for key, value in read_card(models[0]).items() if key not in MEASURED}
    parts = [
        {"model": model, "sha256": read_card(model)["sha256"], "share": share}
        for model, share in zip(models, shares, strict=True)
    ]
    save_model(output, result, card | {"mean_of": parts})


if __name__ == "__main__":
    main()
