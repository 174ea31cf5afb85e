"""What of a structure a file format has no place for."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian

from tdncalc.errors import OutputError

__all__ = ["require_cell", "what_is_lost"]

_PARTIAL = "directions without periodicity"
_ALL = frozenset(
    {
        "cell",
        _PARTIAL,
        "energy and forces",
        "velocities",
        "constraints",
        "charges",
        "magnetic moments",
    }
)
_KEEPS = {
    "extxyz": _ALL,
    "traj": _ALL,
    "json": _ALL,
    "vasp": frozenset({"cell", "velocities", "constraints"}),
    "xsf": frozenset({"cell", _PARTIAL}),
    "gen": frozenset({"cell"}),
    "cif": frozenset({"cell"}),
    "proteindatabank": frozenset({"cell"}),
    # For viewers; nobody looks for more in them.
    "dcd": _ALL,
    "xtc": _ALL,
}
_NEEDS_CELL = ("cif", "vasp")


def what_is_lost(kind: str, atoms: Atoms) -> list[str]:
    """Name what `atoms` has and a file of the format `kind` (as ASE calls it) does not keep."""
    has = {
        "cell": bool(atoms.cell.rank),
        _PARTIAL: bool(atoms.pbc.any() and not atoms.pbc.all()),
        "energy and forces": atoms.calc is not None and bool(atoms.calc.results),
        "velocities": atoms.has("momenta") and bool(np.any(atoms.get_momenta())),
        "constraints": bool(atoms.constraints),
        "charges": bool(np.any(atoms.get_initial_charges())),
        "magnetic moments": bool(np.any(atoms.get_initial_magnetic_moments())),
    }
    keeps = _KEEPS.get(kind, frozenset())
    if "cell" not in keeps:
        keeps |= {_PARTIAL}  # goes without saying
    lost = [what for what, there in has.items() if there and what not in keeps]
    simple = all(isinstance(c, FixAtoms | FixCartesian) for c in atoms.constraints)
    return lost if simple or kind != "extxyz" else [*lost, "constraints"]


def require_cell(kind: str, atoms: Atoms, label: str) -> None:
    """Refuse a format of crystals for what has no cell.

    Raises
    ------
    OutputError
        Names the formats that need none.
    """
    if kind in _NEEDS_CELL and atoms.cell.rank < 3:
        raise OutputError(
            f"{label}: the format is for crystals, and the structure has no cell of three vectors; "
            "use .extxyz, .xyz, .pdb or .sdf"
        )
