"""HDF5 in the layouts of SPICE and of ANI-1x: a group a molecule, arrays of its conformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ase.units
import numpy as np

from tdncalc.errors import DataError
from tdncalc.training.frames import Structure
from tdncalc.training.reading.extras import needed

if TYPE_CHECKING:
    from h5py import Group

__all__ = ["read"]

_SPICE_UNITS = {
    "conformations": "bohr",
    "dft_total_energy": "hartree",
    "dft_total_gradient": "hartree/bohr",
}


def read(path: Path, wanted: dict[str, str]) -> Iterator[Structure]:
    """Yield the conformers of every molecule of a file.

    SPICE (Eastman et al., Sci. Data 10, 11 (2023)): ``atomic_numbers`` (N,), ``conformations``
    (M, N, 3) in bohr, ``dft_total_energy`` (M,) in hartree, ``dft_total_gradient`` (M, N, 3) in
    hartree/bohr, of which the forces are the negative, and ``subset``, which is the kind.

    ANI-1x (Smith et al., Sci. Data 7, 134 (2020)): ``atomic_numbers`` (N,), ``coordinates``
    (M, N, 3) in Å, and for each level of theory ``LEVEL.energy`` (M,) in hartree and
    ``LEVEL.forces`` (M, N, 3) in hartree/Å, NaN where not computed: such conformers are passed
    over. ``#level=wb97x_tz`` takes another level than wb97x_dz.

    Raises
    ------
    DataError
        Neither of these layouts, or in other units.
    """
    h5py = needed("h5py")
    try:
        with h5py.File(path, "r") as file:
            for name, group in file.items():
                yield from _molecule(group, f"{path}: {name}", wanted)
    except DataError:
        raise
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as SPICE's or ANI-1x's HDF5 ({error})") from error


def _molecule(group: "Group", label: str, wanted: dict[str, str]) -> Iterator[Structure]:
    if "conformations" in group:
        return _spice(group, label)
    if "coordinates" in group:
        return _ani(group, label, wanted.get("level", "wb97x_dz"))
    raise DataError(f"{label} has neither 'conformations' (SPICE) nor 'coordinates' (ANI-1x)")


def _spice(group: "Group", label: str) -> Iterator[Structure]:
    for name, unit in _SPICE_UNITS.items():
        if (found := group[name].attrs.get("units", unit)) != unit:
            raise DataError(f"{label}: {name} is in {found}, but in SPICE's layout in {unit}")
    subset = group["subset"].asstr()[0] if "subset" in group else "all"
    positions, energies, gradients = (group[name][()] for name in _SPICE_UNITS)
    for x, e, g in zip(positions, energies, gradients, strict=True):
        yield Structure(
            numbers=group["atomic_numbers"][()],
            positions=x.astype(np.float64) * ase.units.Bohr,
            forces=-g.astype(np.float64) * (ase.units.Hartree / ase.units.Bohr),
            energy=float(e) * ase.units.Hartree,
            info={"subset": subset},
            kind=subset,
        )


def _ani(group: "Group", label: str, level: str) -> Iterator[Structure]:
    if f"{level}.energy" not in group or f"{level}.forces" not in group:
        found = sorted(name.removesuffix(".forces") for name in group if name.endswith(".forces"))
        raise DataError(f"{label}: no energies and forces of {level!r}; there are: {found}")
    arrays = (group[name][()] for name in ("coordinates", f"{level}.energy", f"{level}.forces"))
    for x, e, f in zip(*arrays, strict=True):
        if np.isfinite(e) and np.isfinite(f).all():
            yield Structure(
                numbers=group["atomic_numbers"][()],
                positions=x.astype(np.float64),
                forces=f.astype(np.float64) * ase.units.Hartree,
                energy=float(e) * ase.units.Hartree,
                info={"level": level},
            )
