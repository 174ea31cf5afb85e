"""Put the summaries of checks into a model's card, under ``physics``.

Takes the files that geometries.py, conformer_energies.py, dimers.py, torsions.py, solids.py,
melts.py and water.py write with ``--out``, and refuses those of other weights.

    python physics_card.py models/organic geometries.json dimers.json torsions.json
"""

import argparse
import json
from pathlib import Path

from tdncalc.cards import CARD, read_card


def main() -> None:
    """Read all, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("findings", type=Path, nargs="+")
    args = parser.parse_args()
    card = read_card(args.model)
    for path in args.findings:
        found = json.loads(path.read_text())
        if found["sha256"] != card["sha256"]:
            parser.error(f"{path}: of other weights ({found['model']}, {found['sha256'][:8]}…)")
        card.setdefault("physics", {})[found["check"]] = found["summary"]
    (args.model / CARD).write_text(json.dumps(card, indent=1) + "\n")
    print(f"{args.model / CARD}: {', '.join(card['physics'])}")


if __name__ == "__main__":
    main()
