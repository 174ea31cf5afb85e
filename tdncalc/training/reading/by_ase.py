"""What ASE reads: extxyz, also compressed, its databases, and its other formats."""

import gzip
import lzma
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import iread
from ase.io.extxyz import read_xyz
from ase.stress import voigt_6_to_full_3x3_stress

from tdncalc.errors import DataError
from tdncalc.training.frames import Structure

__all__ = ["read"]


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
        yield from iread(path, index=":")
    else:
        opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
        with opener(path, "rt") as file:
            # one frame at a time: ASE looks through the whole file and then goes back for each
            # frame, which takes hours where it is compressed
            while (count := file.readline()).strip():
                yield from read_xyz(StringIO(count + "".join(islice(file, int(count) + 1))))


def _labeled(atoms: Atoms, label: str) -> Structure:
    results = atoms.calc.results if atoms.calc is not None else {}
    energy = results.get("energy", atoms.info.get("energy"))
    forces = results.get("forces", atoms.arrays.get("forces"))
    if energy is None or forces is None:
        raise DataError(f"{label}: a structure to learn from needs energy and forces")
    stress = results.get("stress")
    if stress is not None:
        full = voigt_6_to_full_3x3_stress(stress) if np.ndim(stress) == 1 else stress
        stress = np.asarray(full, dtype=np.float64)
    return Structure(
        numbers=atoms.numbers,
        positions=atoms.positions,
        forces=np.asarray(forces, dtype=np.float64),
        energy=float(energy),
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        stress=stress,
        info=atoms.info,
        kind=str(atoms.info.get("config_type", atoms.info.get("kind", "all"))),
    )
