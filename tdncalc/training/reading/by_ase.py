"""What ASE reads: extxyz, also compressed, its databases, and its other formats."""

import gzip
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import iread
from ase.stress import voigt_6_to_full_3x3_stress

from tdncalc.errors import DataError
from tdncalc.structures.extxyz import frame_texts, parse_frame
from tdncalc.training.frames import Floats, Structure

__all__ = ["read"]

# What stands before the names of labels: nothing, or what MACE puts there; the first goes first.
_OWN, _REF = ("", "REF_"), ("REF_", "")
_BOTH = ("energy", "forces")


def read(path: Path, _wanted: dict[str, str]) -> Iterator[Structure]:
    """Yield the structures of a file in ASE's units: eV, Å, eV/Å, eV/Å³ (positive is tension)."""
    try:
        for index, atoms in enumerate(_frames(path)):
            yield _labeled(atoms, f"{path}@{index}")
    except DataError:
        raise
    except (OSError, ValueError, KeyError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as labeled structures ({error})") from error


def _frames(path: Path) -> Iterator[Atoms]:
    if path.suffix == ".db":  # SQLite of JSON and numbers: nothing in it is executed
        for row in connect(path, type="db").select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            yield atoms
    elif not {".extxyz", ".xyz"} & set(path.suffixes):
        yield from iread(path, index=":", do_not_split_by_at_sign=True)
    else:
        opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
        with opener(path, "rt") as file:
            # one frame at a time: ASE looks through the whole file and then goes back for each
            # frame, which takes hours where it is compressed
            yield from map(parse_frame, frame_texts(file))


def _labeled(atoms: Atoms, label: str) -> Structure:
    prefixes = _prefixes(atoms)
    energy, forces = _label(atoms, "energy", prefixes), _label(atoms, "forces", prefixes)
    if energy is None or forces is None:
        keys = dict.fromkeys((*_results(atoms), *atoms.info, *atoms.arrays))
        like = [key for key in keys if "energ" in key or "forc" in key]
        raise DataError(
            f"{label}: a structure to learn from needs energy and forces, or REF_energy and "
            f"REF_forces; it has {', '.join(like) or 'nothing that is called alike'}"
        )
    return Structure(
        numbers=atoms.numbers,
        positions=atoms.positions,
        forces=forces,
        energy=energy.item(),
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        stress=_stress(atoms, prefixes),
        info=atoms.info,
        kind=str(atoms.info.get("config_type", atoms.info.get("kind", "all"))),
    )


def _prefixes(atoms: Atoms) -> Sequence[str]:
    """Return, first, before which of its names and MACE's both energy and forces are there.

    One of each would be of two methods.
    """
    return next((p for p in (_OWN, _REF) if all(_found(atoms, p[0] + k) for k in _BOTH)), _OWN)


def _found(atoms: Atoms, name: str) -> list[Any]:
    """Return what a structure says of itself under a name."""
    places = (_results(atoms), atoms.info, atoms.arrays)
    return [place[name] for place in places if place.get(name) is not None]


def _label(atoms: Atoms, name: str, prefixes: Sequence[str]) -> Floats | None:
    """Return what a structure says of itself under a name, with the first prefix that it has."""
    found = [value for prefix in prefixes for value in _found(atoms, prefix + name)]
    return np.asarray(found[0], dtype=np.float64) if found else None


def _results(atoms: Atoms) -> dict[str, Any]:
    return {} if atoms.calc is None else atoms.calc.results


def _stress(atoms: Atoms, prefixes: Sequence[str]) -> Floats | None:
    """Return the stress in eV/Å³, (3, 3); a virial, in eV, is −V times the stress."""
    stress = _label(atoms, "stress", prefixes)
    if stress is None and atoms.cell.rank == 3:
        virials = (_label(atoms, name, prefixes) for name in ("virial", "virials"))
        virial = next((one for one in virials if one is not None), None)
        stress = None if virial is None else -virial / atoms.cell.volume
    if stress is None:
        return None
    full = voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.reshape(3, 3)
    return np.asarray(full, dtype=np.float64)
