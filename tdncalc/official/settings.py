"""What must be said of a checkpoint of the published code, because it does not say it itself."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tdncalc.errors import OptionError

if TYPE_CHECKING:
    from tdncalc.published.config import Product

__all__ = ["REFERENCES", "ImportSettings"]

# Isolated atoms at the level of theory of PubChemQCR (arXiv:2506.23008), Hartree.
_PUBCHEMQCR = {
    "H": -0.5002727762,
    "Be": -14.6684425428,
    "B": -24.6543539532,
    "C": -37.8462799513,
    "N": -54.5844893657,
    "O": -75.0606214015,
    "F": -99.7155354215,
    "Si": -289.3723539998,
    "P": -341.2580898032,
    "S": -398.1049925382,
    "Cl": -460.1362417086,
    "Br": -2573.8397377628,
}
REFERENCES: dict[str, dict[str, float]] = {"none": {}, "pubchemqcr": _PUBCHEMQCR}


@dataclass(frozen=True)
class ImportSettings:
    """What a checkpoint of the published code does not hold; the defaults are those of the code.

    Attributes
    ----------
    forces
        ``direct`` or ``gradient``, as it was trained; None takes it from the optimizer's state, if
        the file holds one, else ``direct``.
    weights
        ``raw``, or the moving average ``ema`` if the file holds it.
    energy
        What the returned energy is: the ``total`` in eV, or one ``per-atom``, of which the total is
        the number of atoms times it plus the references. The published training fits an energy per
        atom and, with gradient forces, fits its gradient to the whole force: of such a checkpoint
        ``total`` has the forces as trained, and ``per-atom`` the energies.
    references
        Energies of isolated atoms to add: ``none``, or those of ``pubchemqcr``.
    elements
        Those it was trained on; of the references, else all up to gold, if empty.
    product
        See :class:`tdncalc.published.config.PublishedConfig`, as for all the others.
    """

    cutoff: float = 4.5
    forces: Literal["direct", "gradient"] | None = None
    weights: Literal["raw", "ema"] = "raw"
    energy: Literal["total", "per-atom"] = "total"
    references: str = "none"
    elements: tuple[str, ...] = ()
    max_neighbors: int | None = 100
    truncation: Literal["with-self", "without-self"] = "with-self"
    keep_isolated: bool = False
    n_avg: float = 36.6
    d_avg: float = 18.6
    product: "Product" = "dense"
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what no checkpoint could fit."""
        if self.references not in REFERENCES:
            raise OptionError(f"references={self.references!r}; allowed: {', '.join(REFERENCES)}")
        known = REFERENCES[self.references]
        if lacking := [symbol for symbol in self.elements if known and symbol not in known]:
            raise OptionError(
                f"references={self.references!r} has no energy of {' '.join(lacking)}, only of "
                f"{' '.join(known)}; leave these elements out, or take references='none'"
            )
        for name in ("cutoff", "n_avg", "d_avg", "max_neighbors"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(f"{name}={value} is not allowed; give more than 0")
