"""What a user is told of a model's limits: physics it does not obey, structures unlike its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

__all__ = [
    "NOVELTY_QUANTILE",
    "failed_checks",
    "gives_novelty",
    "novelties",
    "novelty_results",
    "parts",
    "unlike_training",
]

NOVELTY_QUANTILE = 0.995  # at least, of the environments in the training set, is below novelty 1
_FAR = 2.0  # the novelty of an atom that no number of atoms explains

# What a check means to a user. The empty ones say nothing that another does not.
_MEANINGS = {
    "crossing the cutoff, energy": "the energy jumps {} where an atom crosses the cutoff",
    "crossing the cutoff, forces": "",
    "forces = −dE/dr": "forces differ {} from the gradient of the energy",
    "curl of the forces": "",
    "net force": "forces leave a net force, {}",
    "rotation, energy": "",
    "rotation, forces": "rotation changes forces, {}",
    "reflection, energy": "the energy of a mirror image differs, {}",
    "reflection, forces": "",
}


def failed_checks(card: Mapping[str, Any]) -> str | None:
    """Tell in one line what the physics checks in a card found wrong; None if all passed."""
    if "selftest" not in card:
        if card.get("architecture") != "published":
            return None
        return (
            f"model {card['name']!r} is a published network: not smooth at the cutoff, and no "
            "mirror symmetry; 'tdn selftest --model' measures it"
        )
    failed = [row for row in card["selftest"].get("checks", ()) if not row["passed"]]
    texts = [_MEANINGS.get(row["check"], f"{row['check']} off, {{}}") for row in failed]
    facts = [t.format(_figure(row)) for t, row in zip(texts, failed, strict=True) if t]
    if not facts:
        return None
    return f"model {card['name']!r} (measured when it was imported): {'; '.join(facts)}"


def gives_novelty(calculator: Calculator) -> bool:
    """Tell whether a calculator, or one of those that ASE adds up in it, gives a novelty."""
    return any(getattr(part, "gives_novelty", False) for part in parts(calculator))


def novelty_results(calculator: Calculator) -> dict[str, Any]:
    """Return ``novelties`` (N,) and ``novelty`` of a calculator that has computed; nothing without.

    Of calculators that ASE adds up an atom has the largest: it is strange where it is so for one.
    """
    found = [p.results["novelties"] for p in parts(calculator) if "novelties" in p.results]
    if not found:
        return {}
    import numpy as np  # takes longer than a command that asks for no structure

    largest = np.max(found, axis=0)
    return {"novelties": largest, "novelty": float(largest.max())}


def parts(calculator: Calculator) -> Iterator[Calculator]:
    """Yield the calculators of which ASE makes a sum, an average or a mixture; else the one."""
    mixer = getattr(calculator, "mixer", None)
    if mixer is None:
        yield calculator
        return
    for part in mixer.calcs:
        yield from parts(part)


def novelties(atoms: Atoms) -> NDArray[np.float64] | None:
    """Return the novelty of each atom, (N,), that a calculator left or that is kept; or None."""
    results = {} if atoms.calc is None else novelty_results(atoms.calc)
    found: NDArray[np.float64] | None = results.get("novelties", atoms.arrays.get("novelties"))
    return found


def unlike_training(atoms: Atoms) -> str | None:
    """Tell in one line which atoms with results are unlike the training set; None if none is."""
    found = novelties(atoms)
    if found is None or not found.max() > 1:
        return None
    worst, n_beyond = int(found.argmax()), int((found > 1).sum())
    others = f" and {n_beyond - 1} more" if n_beyond > 1 else ""
    be = "are" if others else "is"
    ordinary = round((1 - NOVELTY_QUANTILE) * len(atoms))  # are above 1 there
    consequence = "expect larger errors"
    if n_beyond <= ordinary and found[worst] < _FAR:
        consequence = f"of {len(atoms)} atoms of the set itself up to {ordinary} would be above"
    return (
        f"{atoms.symbols[worst]} (atom {worst}){others} {be} unlike the training set: novelty "
        f"{found[worst]:.2f}, where {NOVELTY_QUANTILE:.1%} of the training set, or more, is below "
        f"1; {consequence}"
    )


def _figure(row: Mapping[str, Any]) -> str:
    return f"up to {row['value']:.2g} {row['unit']}"
