"""What ASE's reader of PDB files passes over: models cut short, and alternate locations."""

import re

from tdncalc.errors import StructureError

__all__ = ["check_pdb"]

_CUT = re.compile(r"^MODEL\b(?!.*^END)", re.MULTILINE | re.DOTALL)


def check_pdb(text: str) -> None:
    """Make sure that each model of a PDB file is whole, and has each atom once.

    Raises
    ------
    StructureError
        The last model does not end, or an atom has several locations; the message names neither
        file nor model.
    """
    if _CUT.search(text):
        raise StructureError("is truncated: its last model does not end")
    locations: dict[tuple[str, str, str], str] = {}  # of the atoms of this model
    for line in text.splitlines():
        if line.startswith("END"):
            locations.clear()
        elif line.startswith(("ATOM", "HETATM")):
            _note(locations, line)


def _note(locations: dict[tuple[str, str, str], str], line: str) -> None:
    # Not the residue's name: its alternates may have several.
    name, chain, residue = line[12:16].strip(), line[21:22], line[22:27].strip()
    location = line[16:17].strip()
    if locations.setdefault((name, chain, residue), location) != location:
        raise StructureError(
            f"has alternate locations of an atom ({name} of residue {line[17:20].strip()} "
            f"{residue}); keep one of them"
        )
