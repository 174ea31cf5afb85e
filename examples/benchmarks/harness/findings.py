"""What checks against a reference share: their options, and files of what they found."""

import argparse
import json
from pathlib import Path
from typing import Any

from harness.report import machine
from tdncalc.cards import read_card

__all__ = ["options", "write_findings"]


def options(description: str, sample: int, *, kept: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that all checks have.

    Parameters
    ----------
    description
        First line of the help.
    sample
        How many cases to take if nothing is said.
    kept
        Whether results of the reference can be kept in a folder.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default="organic")
    parser.add_argument("--sample", type=int, default=sample, help="how many cases to take")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    if kept:
        parser.add_argument("--kept", type=Path, help="folder with results of the reference")
    return parser


def write_findings(path: Path | None, check: str, model: str, found: dict[str, Any]) -> None:
    """Write ``summary`` and ``cases`` of a check with the checksum of the weights they are of."""
    if path is None:
        return
    head = {"check": check, "model": read_card(model)["name"], "sha256": read_card(model)["sha256"]}
    path.write_text(json.dumps(head | found | {"machine": machine()}, indent=1) + "\n")
