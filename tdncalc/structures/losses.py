"""What of a structure a file format has no place for, and which structures."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixedLine, FixedPlane, FixScaled
from ase.data import atomic_masses

from tdncalc.errors import OutputError
from tdncalc.structures.extxyz import unstorable

__all__ = [
    "require_cell",
    "require_columns",
    "require_one_system",
    "require_periodicity",
    "what_is_lost",
    "where_kept",
]

_PARTIAL = "directions without periodicity"
_ALL = frozenset(
    {
        "cell",
        _PARTIAL,
        "energy and forces",
        "velocities",
        "constraints",
        "charges",
        "total charge",
        "magnetic moments",
        "masses",
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
_CONSTRAINTS = {
    "extxyz": (FixAtoms, FixCartesian),
    "vasp": (FixAtoms, FixScaled, FixedPlane, FixedLine),
}
_KEPT_CONSTRAINTS = {
    "extxyz": "fixed atoms and Cartesian components",
    "vasp": "fixed atoms and components along cell vectors",
}
_NEEDS_CELL = ("cif", "vasp")
_CELL_OF_PERIODIC = ("proteindatabank", "gen", "xsf")  # ASE writes none along no direction
_KEEP_ALL = ("extxyz", "traj")
_ARRAYS = frozenset(  # that ASE's own files have
    {
        *("numbers", "positions", "momenta", "tags", "masses"),
        *("initial_magmoms", "initial_charges", "novelties"),
    }
)
_ONE_SYSTEM = ("proteindatabank", "xsf")  # ASE writes the first frame's elements and periodicity
_ISOTOPES = ("sdf", "mol")  # have mass numbers, but no masses
# Å: beyond these a coordinate is wider than its columns and shifts all that follow.
_COLUMNS = {
    "proteindatabank": (-999.999, 9999.999),
    "sdf": (-9999.9999, 99999.9999),
    "mol": (-9999.9999, 99999.9999),
}


def what_is_lost(kind: str, atoms: Atoms) -> list[str]:
    """Name what `atoms` has and a file of the format `kind` (as ASE calls it) does not keep."""
    has = {
        "cell": bool(atoms.cell.rank),
        _PARTIAL: bool((atoms.pbc.any() or kind in _NEEDS_CELL) and not atoms.pbc.all()),
        "energy and forces": atoms.calc is not None and bool(atoms.calc.results),
        "velocities": atoms.has("momenta") and bool(np.any(atoms.get_momenta())),
        "constraints": bool(atoms.constraints),
        "charges": bool(np.any(atoms.get_initial_charges())),
        "total charge": bool(np.any(atoms.info.get("charge", 0))),
        "magnetic moments": bool(np.any(atoms.get_initial_magnetic_moments())),
        "masses": _has_masses(kind, atoms),
    }
    keeps = _KEEPS.get(kind, frozenset())
    if kind in _CELL_OF_PERIODIC and not atoms.pbc.any():
        keeps -= {"cell"}
    if "cell" not in keeps:
        keeps |= {_PARTIAL}  # goes without saying
    lost = [what for what, there in has.items() if there and what not in keeps]
    if kind in _KEPT_CONSTRAINTS and not _all_kept(kind, atoms):
        lost.append(f"constraints other than {_KEPT_CONSTRAINTS[kind]}")
    return lost + _entries_lost(kind, atoms)


def where_kept(atoms: Atoms) -> str:
    """Say, for the end of a sentence, which formats keep all that `atoms` has."""
    kept = [f".{kind}" for kind in _KEEP_ALL if not what_is_lost(kind, atoms)]
    if not kept:
        return "no format keeps all"
    return f"{' and '.join(kept)} {'do' if len(kept) > 1 else 'does'}"


def _entries_lost(kind: str, atoms: Atoms) -> list[str]:
    """Name the columns and entries of its own that a structure would lose."""
    if kind == "extxyz":
        return unstorable(atoms)
    if kind not in ("traj", "json"):
        return []
    columns = [name for name in atoms.arrays if name not in _ARRAYS]
    return list(map(repr, columns if kind == "traj" else [*columns, *atoms.info]))


def _all_kept(kind: str, atoms: Atoms) -> bool:
    """Tell whether a format that keeps some constraints keeps all of these."""
    return all(isinstance(c, _CONSTRAINTS[kind]) for c in atoms.constraints)


def _has_masses(kind: str, atoms: Atoms) -> bool:
    """Tell whether there are masses other than the elements' that `kind` does not keep."""
    masses = atoms.get_masses()
    kept = np.abs(masses - atomic_masses[atoms.numbers]) < 1e-3  # amu, as ASE's writers have it
    if kind in _ISOTOPES:
        kept |= np.abs(masses - np.round(masses)) < 0.1
    return not kept.all()


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


def require_periodicity(kind: str, atoms: Atoms, label: str) -> None:
    """Refuse XSF, which has words for the first directions only, for others that are periodic.

    Raises
    ------
    OutputError
        Names the directions.
    """
    if kind == "xsf" and list(atoms.pbc) != sorted(atoms.pbc, reverse=True):
        names = ", ".join(name for name, periodic in zip("abc", atoms.pbc, strict=True) if periodic)
        raise OutputError(
            f"{label}: the format is for structures periodic along none, a, a and b, or all of "
            f"their cell vectors, not {names}; use .extxyz"
        )


def require_one_system(kind: str, first: Atoms, atoms: Atoms, label: str) -> None:
    """Refuse PDB and XSF, which are for trajectories of one system, for a frame of another.

    Raises
    ------
    OutputError
        Names what is different from the first frame.
    """
    if kind not in _ONE_SYSTEM:
        return
    if not np.array_equal(atoms.numbers, first.numbers):
        other = "other atoms"
    elif not np.array_equal(atoms.pbc, first.pbc):
        other = "another periodicity"
    else:
        return
    raise OutputError(
        f"{label}: a frame has {other} than the first, and the format holds one system; use "
        ".extxyz or .traj"
    )


def require_columns(kind: str, atoms: Atoms, label: str) -> None:
    """Refuse a format of fixed columns for atoms too far from the origin.

    Raises
    ------
    OutputError
        Names the first such atom and what the format has room for.
    """
    if kind not in _COLUMNS:
        return
    low, high = _COLUMNS[kind]
    positions = atoms.positions
    if kind == "proteindatabank" and atoms.pbc.any():  # then it is the cell that says how they lie
        positions = positions @ atoms.cell.standard_form()[1].T
    digits = len(f"{high}".partition(".")[2])
    rounded = np.round(positions, digits)
    outside = (rounded < low) | (rounded > high)
    if outside.any():
        atom = np.flatnonzero(outside.any(axis=1))[0]
        raise OutputError(
            f"{label}: {atoms.symbols[atom]} (atom {atom}) has a coordinate of "
            f"{rounded[outside][0]:.{digits}f} Å, and the format has room for {low} to {high}; "
            "move the atoms towards the origin, or use .extxyz"
        )
