"""What a model's card says of physics that the model does not obey."""

from collections.abc import Mapping
from typing import Any

__all__ = ["failed_checks"]

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
    failed = [row for row in card["selftest"]["checks"] if not row["passed"]]
    texts = [_MEANINGS.get(row["check"], f"{row['check']} off, {{}}") for row in failed]
    facts = [t.format(_figure(row)) for t, row in zip(texts, failed, strict=True) if t]
    if not facts:
        return None
    return f"model {card['name']!r} (measured when it was imported): {'; '.join(facts)}"


def _figure(row: Mapping[str, Any]) -> str:
    return f"up to {row['value']:.2g} {row['unit']}"
