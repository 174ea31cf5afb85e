"""Which reader takes a file, and which of its structures are wanted."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tdncalc.errors import DataError, StructureError
from tdncalc.patterns import is_pattern, matches
from tdncalc.structures.checks import SAME_POINT, check
from tdncalc.training.frames import Frames, Structure, gather
from tdncalc.training.packed import is_packed, open_packed
from tdncalc.training.reading import by_ase, hdf5, lmdb_files, shards

__all__ = ["paths_of", "read"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_AT_ONCE = 1000
_ASKEW = np.array([0.7253, 0.2849, 0.6267])  # not longer than 1

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
        energy or forces, or such that are no numbers, or is one that no model could evaluate.
    """
    name, _, condition = source.partition("#")
    wanted = _conditions(condition, source)
    found = False
    for path in paths_of(name, root):
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
        yield _of_kind(shards.read(path), path, wanted)
    elif is_packed(path):
        for part in open_packed(path).blocks():
            yield _of_kind(part, path, wanted)
    else:
        structures = _chosen(_fitting(_reader(path)(path, wanted), path), wanted)
        while some := list(islice(structures, _AT_ONCE)):
            yield gather(some)


def _of_kind(frames: Frames, path: Path, wanted: Wanted) -> Frames:
    """Keep those of a kind, which is all that a packed structure says of itself."""
    if unknown := sorted(set(wanted) - {"kind"}):
        raise DataError(f"{path}: packed structures have a kind only, no {unknown[0]!r}")
    return frames.take(np.flatnonzero(frames.kind == wanted["kind"])) if wanted else frames


def _fitting(structures: Iterator[Structure], path: Path) -> Iterator[Structure]:
    """Refuse structures of which the arrays do not fit each other, or that are no structures."""
    count = 0
    try:
        for structure in structures:
            n_atoms, shapes = len(structure.numbers), _shapes(structure)
            if shapes != ((n_atoms, 3), (n_atoms, 3), (3, 3), (3, 3), (3,)):
                raise DataError(
                    f"{path}: structure {count} has {n_atoms} atoms, which positions {shapes[0]}, "
                    f"forces {shapes[1]}, cell {shapes[2]}, stress {shapes[3]} or pbc {shapes[4]} "
                    "do not fit"
                )
            yield structure
            count += 1
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a parser may raise anything
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: structure {count} cannot be read ({what})") from error


def _shapes(structure: Structure) -> tuple[tuple[int, ...], ...]:
    square = np.zeros((3, 3))
    of_one = structure.cell, structure.stress
    cell, stress = (square if array is None else array for array in of_one)
    arrays = structure.positions, structure.forces, cell, stress, structure.pbc
    return tuple(np.shape(array) for array in arrays)


def _check(part: Frames, path: Path, before: int) -> None:
    """Refuse a structure that nothing can be learned from; its stress may be unknown."""

    def label(index: int) -> str:
        return f"{path}: structure {before + index} of those to read"

    for good, what in _conditions_met(part):
        if not good.all():
            raise DataError(f"{label(int(np.flatnonzero(~good)[0]))} {what}; remove it")
    for index in np.flatnonzero(part.pbc.any(axis=1) | _crowded(part)):
        try:
            check(part.atoms(int(index)), label(int(index)))
        except StructureError as error:
            raise DataError(str(error)) from None


def _conditions_met(part: Frames) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield which structures are as they must be, (S,), and what the others are."""
    yield part.n_atoms() > 0, "has no atoms"
    atoms = np.isfinite(part.positions).all(axis=1) & np.isfinite(part.forces).all(axis=1)
    good = np.isfinite(part.energy) & np.logical_and.reduceat(atoms, part.starts[:-1])
    yield good, "has an energy, force or position that is not a finite number"
    good = np.asarray(np.isfinite(part.cell).all(axis=(1, 2)))
    yield good, "has a cell vector that is not a finite number"
    known = (part.numbers > 0) & (part.numbers < len(chemical_symbols))
    last = len(chemical_symbols) - 1
    good = np.logical_and.reduceat(known, part.starts[:-1])
    yield good, f"has an atomic number that is not one of 1 to {last}"


def _crowded(part: Frames) -> NDArray[np.bool_]:
    """Return in which structures two atoms may be at one point, (S,): all that are, and few more.

    Seen from a direction in which no crystal has its atoms above each other.
    """
    owner = np.repeat(np.arange(len(part)), part.n_atoms())
    heights = part.positions @ _ASKEW
    order = np.lexsort((heights, owner))
    near = (np.diff(heights[order]) < SAME_POINT) & (np.diff(owner[order]) == 0)
    found = np.zeros(len(part), dtype=np.bool_)
    found[owner[order][1:][near]] = True
    return found


def paths_of(name: str, root: Path) -> list[Path]:
    """Return the files, or folders of data, that a name or a pattern of names means.

    Raises
    ------
    DataError
        There is none.
    """
    if name.startswith("~/"):
        name = str(Path(name).expanduser())
    names = matches(name, root) if is_pattern(name) else [name]
    found = [root / one for one in names]
    if not found or not (found[0].is_file() or _is_folder_of_data(found[0])):
        raise DataError(f"{root / name}: {_no_data(name, root)}")
    return found


def _no_data(name: str, root: Path) -> str:
    """Say why a name means no data, and what would."""
    if (root / name).is_dir():
        return "a folder without LMDB or packed data; name its files, such as 'FOLDER/*.extxyz'"
    if (root / name.rpartition("@")[0]).is_file():
        return "no such data file; of data no frames are picked by @, but by FILE#key=value"
    return "no such data file" + (
        f"; paths start from {root} (set TDNCALC_DATA)" if root != Path() else ""
    )


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
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(len(_HDF5)) == _HDF5
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return hdf5.read if is_hdf5 else by_ase.read


def _chosen(structures: Iterable[Structure], wanted: Wanted) -> Iterator[Structure]:
    for structure in structures:
        if all(str(structure.info.get(key)) == value for key, value in wanted.items()):
            yield structure
