"""Between ASE and pymatgen; pymatgen is imported only when one of its objects comes along."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from ase import Atoms, units

from tdncalc.errors import OptionError, StructureError

if TYPE_CHECKING:
    from pymatgen.core.structure import IMolecule, IStructure

__all__ = ["AnyStructure", "like", "require_several", "to_atoms"]

AnyStructure: TypeAlias = "Atoms | IStructure | IMolecule"

_OF_GEOMETRY = ("forces", "velocities")  # site properties that another geometry does not have

_HYDROGEN = 1.5  # amu: heavier hydrogen is pymatgen's D or T

_Structure = TypeVar("_Structure", bound="Atoms | IStructure | IMolecule")


def to_atoms(x: "AnyStructure") -> Atoms:
    """Convert to Atoms; Atoms come back as they are, not copied.

    Selective dynamics of a pymatgen object become constraints, its velocities, in Å/fs, those of
    the Atoms, a charge that is not zero ``info["charge"]``, and deuterium hydrogen of its mass.

    Raises
    ------
    StructureError
        The object is of another type, or one of its sites is partially occupied.
    """
    if isinstance(x, Atoms):
        return x
    if not _is_pymatgen(x):
        raise StructureError(
            f"a structure was given as {type(x).__name__}; "
            "give an ase.Atoms or a pymatgen Structure or Molecule"
        )
    from pymatgen.io.ase import AseAtomsAdaptor

    if not x.is_ordered:
        raise StructureError("a pymatgen structure has partially occupied sites; order it first")
    atoms: Atoms = AseAtomsAdaptor.get_atoms(x, msonable=False)
    hydrogen = ((i, float(one.atomic_mass)) for i, one in enumerate(x.species) if one.Z == 1)
    if heavy := {i: mass for i, mass in hydrogen if mass > _HYDROGEN}:
        atoms.set_masses([heavy.get(i, mass) for i, mass in enumerate(atoms.get_masses())])
    velocities = atoms.arrays.pop("velocities", None)
    if velocities is not None and _known(velocities):
        atoms.set_velocities(np.asarray(velocities, dtype=float) / units.fs)
    if x._charge:  # what was stated: the property may be a sum of oxidation states
        atoms.info["charge"] = x._charge
    return atoms


def require_several(structures: object, what: str) -> None:
    """Refuse a single structure where several are taken: it would be a list of its atoms.

    Raises
    ------
    OptionError
        Names what was called, `what`.
    """
    if hasattr(structures, "get_positions") or hasattr(structures, "sites"):
        raise OptionError(f"{what} takes a list of structures; put a single one into [ ]")


def like(original: _Structure, atoms: Atoms) -> _Structure:
    """Convert back to the type that a structure came in.

    Parameters
    ----------
    original
        What `to_atoms` was given; its species, labels, charge and site properties are kept, but
        for forces, and for velocities, which are those of `atoms` in Å/fs.
    atoms
        The same atoms in the same order, with new positions and perhaps a new cell.
    """
    if isinstance(original, Atoms):
        return atoms  # type: ignore[return-value]
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import IMolecule

    kind: Any = type(original)
    sites = {k: v for k, v in original.site_properties.items() if k not in _OF_GEOMETRY}
    if atoms.has("momenta"):
        sites["velocities"] = (atoms.get_velocities() * units.fs).tolist()
    kept: dict[str, Any] = {
        "site_properties": sites,
        "labels": original.labels,
        "properties": original.properties,
    }
    if isinstance(original, IMolecule):
        kept |= {"charge": original.charge, "spin_multiplicity": original.spin_multiplicity}
        kept["charge_spin_check"] = original._charge_spin_check
        return kind(original.species, atoms.positions, **kept)  # type: ignore[no-any-return]
    lattice = Lattice(atoms.cell.array, pbc=tuple(atoms.pbc.tolist()))
    kept |= {"charge": original._charge, "coords_are_cartesian": True}
    return kind(lattice, original.species, atoms.positions, **kept)  # type: ignore[no-any-return]


def _known(velocities: Iterable[object]) -> bool:
    """Tell whether every site has a velocity: a site may have None."""
    return all(velocity is not None for velocity in velocities)


def _is_pymatgen(x: object) -> bool:
    return any(
        kind.__module__.startswith("pymatgen.core") and kind.__name__ in ("IStructure", "IMolecule")
        for kind in type(x).__mro__
    )
