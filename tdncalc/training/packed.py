"""Labeled structures on disk, mapped into memory: sets larger than it can be learned from."""

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tdncalc.errors import DataError
from tdncalc.training.frames import Frames

__all__ = ["is_packed", "open_packed", "pack"]

_CARD = "frames.json"
# of each array the type on disk and the shape of a row
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "numbers": ("u1", ()),
    "positions": ("<f8", (3,)),
    "forces": ("<f4", (3,)),
    "energy": ("<f8", ()),
    "cell": ("<f8", (3, 3)),
    "pbc": ("?", (3,)),
    "stress": ("<f8", (3, 3)),
    "level": ("u1", ()),
}
_OF_ATOMS = ("numbers", "positions", "forces")


def pack(parts: Iterable[Frames], folder: Path, made_of: object = None) -> None:
    """Write structures, a part at a time, into a folder of plain arrays; kinds are not kept.

    Parameters
    ----------
    parts
        The structures.
    folder
        Gets a file an array, and last ``frames.json``, which makes it complete.
    made_of
        Plain types that say what the structures are, to find in ``frames.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CARD).unlink(missing_ok=True)
    structures = atoms = 0
    with ExitStack() as stack:
        files = {}
        for name in (*_ARRAYS, "starts"):
            path = folder / f"{name}.bin"
            path.unlink(missing_ok=True)  # a run that has it mapped keeps it as it is
            files[name] = stack.enter_context(path.open("wb"))
        np.zeros(1, dtype="<i8").tofile(files["starts"])
        for part in parts:
            (part.starts[1:] + atoms).astype("<i8").tofile(files["starts"])
            for name, (dtype, _) in _ARRAYS.items():
                np.ascontiguousarray(getattr(part, name), dtype=dtype).tofile(files[name])
            structures, atoms = structures + len(part), atoms + len(part.numbers)
    card = {"structures": structures, "atoms": atoms, "made_of": made_of}
    temporary = folder / (_CARD + ".tmp")
    temporary.write_text(json.dumps(card))
    os.replace(temporary, folder / _CARD)


def is_packed(folder: Path, made_of: object = None) -> bool:
    """Return whether a folder holds packed structures and, if told what of, of just that."""
    try:
        card = json.loads((folder / _CARD).read_text())
    except (OSError, ValueError):
        return False
    return made_of is None or card.get("made_of") == made_of


def open_packed(folder: Path) -> Frames:
    """Map packed structures into memory: they are read from disk where and when they are used.

    Raises
    ------
    DataError
        The folder is incomplete.
    """
    try:
        card = json.loads((folder / _CARD).read_text())
        structures, atoms = int(card["structures"]), int(card["atoms"])
        arrays: dict[str, Any] = {
            name: _map(folder, name, (atoms if name in _OF_ATOMS else structures,))
            for name in _ARRAYS
        }
        starts = np.memmap(folder / "starts.bin", "<i8", "r", shape=(structures + 1,))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a folder of packed structures ({error})") from error
    kind = np.broadcast_to(np.array("all"), (structures,))
    return Frames(starts=np.asarray(starts), kind=kind, **arrays)


def _map(folder: Path, name: str, rows: tuple[int]) -> Any:  # noqa: ANN401 - arrays of all types
    dtype, shape = _ARRAYS[name]
    # a plain view of it: slices of a memmap itself are slow to make
    return np.asarray(np.memmap(folder / f"{name}.bin", dtype, "r", shape=(*rows, *shape)))
