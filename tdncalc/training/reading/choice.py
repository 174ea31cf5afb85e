"""Which reader takes a file, and which of its structures are wanted."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdncalc.errors import DataError
from tdncalc.training.frames import Frames, Structure, gather
from tdncalc.training.packed import is_packed, open_packed
from tdncalc.training.reading import by_ase, hdf5, lmdb_files, shards

__all__ = ["read"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_AT_ONCE = 1000
_GLOB = set("*?[")

Wanted = dict[str, str]
Reader = Callable[[Path, Wanted], Iterator[Structure]]


def read(source: str, root: Path) -> Iterator[Frames]:
    """Read the structures of a source a part at a time, so that memory stays bounded.

    Parameters
    ----------
    source
        ``FILE``, ``FILE#key=value`` or ``FILE#key=value&key=value``: only the structures of which
        the file says so. FILE may be a pattern (``s2ef/*.lmdb``). Read are packed .npz shards,
        HDF5 in the layouts of SPICE and ANI-1x, LMDB of PubChemQCR, OC20, OC22 and fairchem,
        folders of :func:`tdncalc.training.packed.pack`, extxyz, ASE's databases, and what else
        ASE reads.
    root
        Folder of relative paths.

    Raises
    ------
    DataError
        There is no such file, it cannot be read or has no such structures, or one of them has no
        energy or forces, or such that are no numbers, or no cell where it is periodic, or two atoms
        at one point.
    """
    name, _, condition = source.partition("#")
    wanted = _conditions(condition, source)
    found = False
    for path in _paths(name, root):
        done = 0
        for part in _parts(path, wanted):
            _check(part, path, done)
            done += len(part)
            yield part
        found = found or done > 0
    if not found:
        raise DataError(f"{source}: no structures{' of which that is so' if condition else ''}")


def _parts(path: Path, wanted: Wanted) -> Iterator[Frames]:
    if path.suffix == ".npz":
        yield shards.read(path)
    elif is_packed(path):
        yield from open_packed(path).blocks()
    else:
        structures = _chosen(_reader(path)(path, wanted), wanted)
        while some := list(islice(structures, _AT_ONCE)):
            yield gather(some)


def _check(part: Frames, path: Path, before: int) -> None:
    """Refuse a structure that nothing can be learned from; its stress may be unknown."""
    for good, what in _conditions_met(part):
        if not good.all():
            index = int(np.flatnonzero(~good)[0])
            raise DataError(
                f"{path}: structure {before + index} of those to read {what}; remove it"
            )


def _conditions_met(part: Frames) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield which structures are as they must be, (S,), and what the others are."""
    yield part.n_atoms() > 0, "has no atoms"
    atoms = np.isfinite(part.positions).all(axis=1) & np.isfinite(part.forces).all(axis=1)
    good = np.isfinite(part.energy) & np.logical_and.reduceat(atoms, part.starts[:-1])
    yield good, "has an energy, force or position that is not a finite number"
    flat = (np.abs(part.cell).max(axis=2) == 0) & part.pbc
    yield ~flat.any(axis=1), "is periodic, but has no extent there"
    yield ~_coincide(part), "has two atoms at one point"


def _coincide(part: Frames) -> NDArray[np.bool_]:
    """Return of which structures two atoms have the same positions, (S,)."""
    owner = np.repeat(np.arange(len(part)), part.n_atoms())
    order = np.lexsort((*part.positions.T, owner))
    same = (np.diff(part.positions[order], axis=0) == 0).all(axis=1) & (np.diff(owner[order]) == 0)
    found = np.zeros(len(part), dtype=np.bool_)
    found[owner[order][1:][same]] = True
    return found


def _paths(name: str, root: Path) -> list[Path]:
    if _GLOB & set(name):
        base = Path(name) if Path(name).is_absolute() else root / name
        found = sorted(Path(base.anchor or ".").glob(str(base.relative_to(base.anchor or "."))))
    else:
        found = [root / name]
    if not found or not (found[0].is_file() or _is_folder_of_data(found[0])):
        raise DataError(
            f"{root / name}: no such data file; paths start from {root} (set TDNCALC_DATA)"
        )
    return found


def _is_folder_of_data(path: Path) -> bool:
    return is_packed(path) or (path / "data.mdb").is_file()


def _conditions(text: str, source: str) -> Wanted:
    parts = [part.partition("=") for part in text.split("&") if part]
    if not all(equals for _, equals, _ in parts):
        raise DataError(f"{source}: what follows # must be key=value")
    return {key: value for key, _, value in parts}


def _reader(path: Path) -> Reader:
    if path.is_dir() or path.suffix in (".lmdb", ".aselmdb"):
        return lmdb_files.read
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_HDF5)) == _HDF5
    return hdf5.read if is_hdf5 else by_ase.read


def _chosen(structures: Iterable[Structure], wanted: Wanted) -> Iterator[Structure]:
    for structure in structures:
        if all(str(structure.info.get(key)) == value for key, value in wanted.items()):
            yield structure
