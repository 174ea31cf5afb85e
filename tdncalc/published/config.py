"""The hyper-parameters of the published network."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import ase.data

from tdncalc.errors import ConfigError
from tdncalc.nn.tensor_product import Evaluation
from tdncalc.settings import above_zero, build, chemical_symbols

__all__ = ["EVALUATIONS", "MAX_ELEMENTS", "Product", "PublishedConfig"]

MAX_ELEMENTS = 80  # columns of the embedding; the atomic number is the column

Product = Literal["cp", "dense", "exact-cp", "exact-dense", "cg"]
EVALUATIONS: dict[Product, Evaluation] = {
    "cp": "cp",
    "dense": "dense",
    "exact-cp": "cp",
    "exact-dense": "dense",
    "cg": "cg",
}
_POSITIVE = ("cutoff", "n_layers", "l_max", "channels", "heads", "n_radial", "n_avg", "d_avg")


@dataclass(frozen=True)
class PublishedConfig:
    """The hyper-parameters of a :class:`PublishedTDN`; the defaults are those of the paper.

    Attributes
    ----------
    elements
        Chemical symbols the network was trained on, of atomic numbers below 80.
    cutoff
        Å; no edge is longer.
    max_neighbors
        Edges kept per atom, those of the first atoms of the structure; None keeps all.
    truncation
        ``with-self``: the atom itself takes one of ``max_neighbors + 1`` places, whether it is
        among the first or not (torch-cluster up to 1.6.3). ``without-self``: it takes none.
    n_layers, l_max, channels, heads
        Blocks, the largest degree L, channels and heads of attention.
    n_radial, hidden
        Gaussians K, and the two hidden widths of the network of radial weights.
    rank
        Of the factors that a new network gets; the lowest exact one known if None.
    n_avg, d_avg
        Average numbers of atoms and of neighbors in the training set.
    dropout
        Of the attention, in training.
    forces
        ``direct``: a head of the network; not the gradient of the energy, and without stress.
        ``gradient``: −∂E/∂r.
    energy
        What the sum over atoms means: the ``total`` energy, or the energy ``per-atom``, which is
        then multiplied by the number of atoms.
    keep_isolated
        Whether an atom without neighbors has an energy, other than in the published code.
    product
        ``cp`` and ``dense`` take the factors in the weights, and agree to rounding; ``exact-cp``,
        ``exact-dense`` and ``cg`` (path by path, with e3nn) take the tensor that those factors
        stand for, and agree with each other.
    """

    elements: tuple[str, ...]
    cutoff: float = 4.5
    max_neighbors: int | None = 100
    truncation: Literal["with-self", "without-self"] = "with-self"
    n_layers: int = 6
    l_max: int = 1
    channels: int = 256
    heads: int = 4
    n_radial: int = 256
    hidden: tuple[int, int] = (64, 64)
    rank: int | None = None
    n_avg: float = 36.6
    d_avg: float = 18.6
    dropout: float = 0.2
    forces: Literal["direct", "gradient"] = "direct"
    energy: Literal["total", "per-atom"] = "total"
    keep_isolated: bool = False
    product: Product = "dense"

    def __post_init__(self) -> None:
        """Check what cannot be right for any model."""
        above_zero(self, _POSITIVE, "model")
        for symbol in chemical_symbols(self.elements, "model: elements"):
            if not ase.data.atomic_numbers[symbol] < MAX_ELEMENTS:
                raise ConfigError(f"model: element {symbol!r} is not among the 79 from H to Au")
        if self.channels % self.heads:
            raise ConfigError(
                f"model: channels {self.channels} must be a multiple of heads {self.heads}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self) | {"elements": list(self.elements), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "PublishedConfig":
        """Make a configuration from plain types; a ConfigError names what is wrong."""
        return build(cls, settings, "model")
