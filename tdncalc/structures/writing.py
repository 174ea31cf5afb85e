"""Files out: never over another unless asked, and whole or not at all."""

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import ase.io
from ase import Atoms

from tdncalc.errors import OutputError
from tdncalc.structures.extxyz import storable
from tdncalc.structures.formats import WRITABLE, output_format
from tdncalc.structures.losses import (
    require_cell,
    require_columns,
    require_one_system,
    require_periodicity,
    what_is_lost,
    where_kept,
)
from tdncalc.structures.viewers import VIEWER_FORMATS, require_library, write_viewer

__all__ = [
    "require_beside",
    "require_different",
    "require_new",
    "require_room",
    "require_writable",
    "write",
]

_LOG = logging.getLogger(__name__)


def write(path: str | Path, frames: Atoms | Sequence[Atoms], *, overwrite: bool = False) -> None:
    """Write structures; what they carry and the format has no place for is told as a warning.

    The file is written under a temporary name in the same folder and renamed when it is complete.

    Parameters
    ----------
    path
        Its ending says the format, and with ``.gz``, ``.bz2`` or ``.xz`` the compression.
    frames
        One structure or, for formats that hold several, any number above zero.
    overwrite
        Replace a file that exists.

    Raises
    ------
    OutputError
        The file exists, its folder is missing or cannot be written, the disk is full, or the format
        is unknown or cannot hold these structures.
    """
    target = Path(path)
    require_new([target], overwrite=overwrite)
    kind = output_format(target)
    images = [frames] if isinstance(frames, Atoms) else list(frames)
    if not images:
        raise OutputError(f"{target}: there is no structure to write")
    require_room(target, len(images))
    for image in images:
        require_writable(target, image)
        require_beside(target, images[0], image)
    _replace(target.resolve(), images, kind, target)
    losses = [(what_is_lost(kind, image), image) for image in images]
    if lost := dict.fromkeys(what for found, _ in losses for what in found):
        most = max(losses, key=lambda loss: len(loss[0]))[1]
        _LOG.warning("%s: has no place for %s; %s", target, ", ".join(lost), where_kept(most))


def require_writable(path: Path, atoms: Atoms) -> None:
    """Make sure, before any work, that a structure can go into a file of that name.

    Raises
    ------
    OutputError
        The format is unknown or needs a library that is not there, or a cell, or has no room for
        coordinates that large.
    """
    kind = output_format(path)
    require_cell(kind, atoms, str(path))
    require_columns(kind, atoms, str(path))
    require_periodicity(kind, atoms, str(path))
    if kind in VIEWER_FORMATS.values():
        require_library()


def require_beside(path: Path, first: Atoms, atoms: Atoms) -> None:
    """Make sure that a structure can follow the first in a file of that name; an OutputError."""
    require_one_system(output_format(path), first, atoms, str(path))


def require_room(path: Path, count: int) -> None:
    """Make sure that so many structures can go into a file of that name; else an OutputError."""
    kind = output_format(path)
    if count > 1 and _holds_one(kind):
        raise OutputError(
            f"{path}: format {kind} holds one structure, not {count}; use .extxyz or .traj"
        )


def _holds_one(kind: str) -> bool:
    return kind in ase.io.formats.ioformats and bool(ase.io.formats.ioformats[kind].single)


def _replace(target: Path, images: list[Atoms], kind: str, label: Path) -> None:
    # The ending stays last: it chooses the compression.
    temporary = target.with_name(f".{os.getpid()}.tmp.{target.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind in VIEWER_FORMATS.values():
                write_viewer(temporary, images)
            else:
                ase.io.write(temporary, [_as_kept(a, kind) for a in images], format=kind)
        temporary.replace(target)
    except OutputError as error:
        raise OutputError(f"{label}: {error}") from error
    except OSError as error:
        raise OutputError(f"{label}: cannot be written ({error.strerror or error})") from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise OutputError(
            f"{label}: cannot be written as {kind} ({reason}); use {WRITABLE}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _as_kept(atoms: Atoms, kind: str) -> Atoms:
    """Return what a format keeps: CIF has lengths and angles, of right-handed vectors."""
    if kind == "extxyz":
        return storable(atoms)
    if kind != "cif" or atoms.cell.handedness > 0:
        return atoms
    turned: Atoms = atoms.copy()
    turned.set_cell(-atoms.cell.array, scale_atoms=False, apply_constraint=False)
    return turned  # the same lattice; with the vectors as they are its mirror image would be read


def require_new(paths: Iterable[Path], *, overwrite: bool, resumable: bool = False) -> None:
    """Make sure, before any work, that every result can be written.

    Parameters
    ----------
    paths
        All files that will be written.
    overwrite
        Files that exist may be replaced.
    resumable
        Whether ``--resume`` could go on with them, to be told.

    Raises
    ------
    OutputError
        A file exists, is no file, or is named twice; its folder is missing or cannot be written.
    """
    paths = list(paths)
    for path in paths:
        _require_folder(path)
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is not a file; choose another name")
        if path.exists() and not overwrite:
            going_on = ", --resume to go on with an interrupted run," if resumable else ""
            raise OutputError(
                f"{path}: exists already; use --overwrite (overwrite=True) to replace it{going_on} "
                "or choose another name or folder"
            )
    require_different(paths)


def require_different(paths: Iterable[Path]) -> None:
    """Make sure that no two results have one name; else an OutputError."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise OutputError(f"{path}: two results have this name; write them to two folders")
        seen.add(path.resolve())


def _require_folder(path: Path) -> None:
    folder = path.parent
    if not folder.exists():
        _refuse(path, f"its folder {folder} does not exist; make it, or choose another")
    if not folder.is_dir():
        _refuse(path, f"{folder} is not a folder; choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        _refuse(path, f"its folder {folder} cannot be written; choose another")


def _refuse(path: Path, why: str) -> NoReturn:
    raise OutputError(f"{path}: {why}")
