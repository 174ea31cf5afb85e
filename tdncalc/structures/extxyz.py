"""What extxyz can hold: its lines are cut at blanks, and ASE's writer does not look."""

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.io.extxyz import SPECIAL_3_3_KEYS, key_val_dict_to_str, key_val_str_to_dict, read_xyz

from tdncalc.errors import StructureError

__all__ = [
    "frame_texts",
    "parse_frame",
    "require_values",
    "storable",
    "unstorable",
    "whole_frame_texts",
    "writable",
]

# Words of the comment line that mean something to a reader.
_RESERVED = {"Properties", "pbc", *SPECIAL_3_3_KEYS, *all_properties}
_NAME = re.compile(r"[^\s:=\"'{}\[\]\\]+")
_ENTRY = re.compile(r"(?:REF_)?(\w+)=")
_INT32 = np.iinfo(np.int32)  # readers take no larger integers


def frame_texts(lines: Iterable[str]) -> Iterator[str]:
    """Give the text of each frame; at a blank line between two ASE would take the file to end.

    Raises
    ------
    ValueError
        A frame does not begin with a number of atoms.
    """
    rest = iter(lines)
    head = next(rest, None)
    while head is not None:
        frame = [head, *islice(rest, _count(head) + 1)] if head.strip() else []
        head = next(rest, None)
        while frame and head is not None and head.lstrip().startswith("VEC"):  # of its cell
            frame.append(head)
            head = next(rest, None)
        if frame:
            yield "".join(frame)


def whole_frame_texts(lines: Iterable[str]) -> tuple[list[str], bool]:
    """Give the text of each frame before one that was cut off, and tell whether one was.

    A frame is whole with all of its lines, each with its end.

    Raises
    ------
    ValueError
        A frame does not begin with a number of atoms: this is no extxyz, or damaged elsewhere.
    """
    whole: list[str] = []
    for text in frame_texts(lines):
        if text.count("\n") < _count(text.partition("\n")[0]) + 2:
            return whole, True
        whole.append(text)
    return whole, False


def parse_frame(text: str) -> Atoms:
    """Read the text of one frame.

    Raises
    ------
    StructureError
        A value in its comment line is empty.
    """
    atoms: Atoms = next(read_xyz(io.StringIO(text)))
    require_values(atoms)
    return atoms


def storable(atoms: Atoms) -> Atoms:
    """Return a copy as extxyz can hold it.

    Texts are on one line; what would make the file unreadable is left out.
    """
    kept: Atoms = atoms.copy()
    kept.calc = atoms.calc
    kept.info = {key: _on_one_line(value) for key, value in atoms.info.items()}
    for key in [key for key, value in kept.info.items() if not _fits(key, value)]:
        del kept.info[key]
    for name in [name for name, array in kept.arrays.items() if not _has_columns(name, array)]:
        del kept.arrays[name]
    return kept


def unstorable(atoms: Atoms) -> list[str]:
    """Name what `storable` leaves out, but for empty texts."""
    kept = storable(atoms)
    lost = [key for key in atoms.info if key not in kept.info and not _is_empty(atoms.info[key])]
    lost += [name for name in atoms.arrays if name not in kept.arrays]
    return [repr(name) for name in lost]


def require_values(atoms: Atoms) -> None:
    """Refuse a structure that was read with an empty value in its comment line.

    Of ``note= pbc="T T F"``, as ASE writes an empty text, ASE's reader makes a note and no pbc.

    Raises
    ------
    StructureError
        Names the empty value, and what it has taken.
    """
    for key, value in atoms.info.items():
        entry = _ENTRY.match(value) if isinstance(value, str) else None
        if entry and entry[1] in _RESERVED:
            raise StructureError(
                f"'{key}' has no value in its comment line and takes that of "
                f"'{entry[0][:-1]}' behind it; give it one, or leave it out"
            )


def writable(text: str) -> str:
    """Escape what UTF-8 has no letter for: the bytes of a file's name in another encoding."""
    return text.encode(errors="backslashreplace").decode()


def _count(head: str) -> int:
    try:
        return int(head)
    except ValueError:
        raise ValueError(f"{head.strip()!r} where a number of atoms is expected") from None


def _is_empty(value: Any) -> bool:  # noqa: ANN401 - whatever info holds
    return isinstance(value, str) and not value.strip()


def _on_one_line(value: Any) -> Any:  # noqa: ANN401 - whatever info holds
    return " ".join(value.splitlines()) if isinstance(value, str) else value


def _fits(key: Any, value: Any) -> bool:  # noqa: ANN401 - whatever info holds
    """Tell whether a reader finds the end of a value, and what comes behind it."""
    if not isinstance(key, str) or not _NAME.fullmatch(key):
        return False
    if isinstance(value, str) and (not value or key in _RESERVED):
        return False
    if isinstance(value, Real):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            comment = key_val_dict_to_str({key: value, "end": "T"})
        return len(comment.splitlines()) == 1 and key_val_str_to_dict(comment).get("end") is True
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return False


def _has_columns(name: str, array: np.ndarray) -> bool:
    """Tell whether the numbers or words of an array are the columns of a table."""
    if not _NAME.fullmatch(name) or array.ndim > 2 or 0 in array.shape[1:]:
        return False
    if array.dtype.kind == "i":
        return not array.size or bool(_INT32.min <= array.min() and array.max() <= _INT32.max)
    if array.dtype.kind in "USO":  # words that were read from a file are objects
        words = array.ravel().tolist()
        return all(isinstance(word, str | bytes) and len(word.split()) == 1 for word in words)
    return array.dtype.kind in "fb"
