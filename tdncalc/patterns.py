"""Patterns of file names, for those that are too many for a command line."""

import os
import re
from glob import glob
from pathlib import Path

__all__ = ["expand", "is_pattern", "matches"]

_GLOB = set("*?[")
_INDEXED = re.compile(r"(.+)(@-?\d*(?::-?\d*){0,2})", re.DOTALL)


def is_pattern(name: str) -> bool:
    """Tell whether a name may stand for others: ``*`` and ``?`` for letters, ``[ab]`` for one."""
    return bool(_GLOB & set(name))


def matches(pattern: str, folder: Path | None = None) -> list[str]:
    """Return the names that a pattern stands for, sorted, but for hidden ones.

    Parameters
    ----------
    pattern
        As in a shell; ``**`` stands for any folders, also none, at the end for all files in them,
        and ``~`` for the user's folder.
    folder
        Where relative names start; the current folder if None.
    """
    names = glob(os.path.expanduser(pattern), root_dir=folder, recursive=True)
    if os.path.basename(pattern) == "**":
        names = [name for name in names if not os.path.isdir(os.path.join(folder or "", name))]
    return sorted(names, key=lambda name: Path(name).parts)


def expand(spec: str) -> list[str]:
    """Return what an input stands for: itself, or each file of a pattern, ``@INDEX`` kept.

    A pattern that matches nothing stands for itself.
    """
    indexed = _INDEXED.fullmatch(spec)
    name, index = indexed.groups() if indexed else (spec, "")
    if not is_pattern(name) or os.path.lexists(spec) or os.path.lexists(name):
        return [spec]
    return [found + index for found in matches(name)] or [spec]
