"""Files in: whatever ASE or pymatgen reads, one structure after another, each checked."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ase import Atoms

from tdncalc.errors import StructureError
from tdncalc.structures.checks import check
from tdncalc.structures.formats import READABLE, is_structure_file, stem
from tdncalc.structures.parsing import read_frames, read_text

__all__ = ["Source", "read_inputs"]

_ALL = slice(None)


@dataclass(frozen=True)
class Source:
    """A structure and where it came from.

    Attributes
    ----------
    atoms
        The structure, checked.
    name
        For files made from it: ``aspirin`` of ``folder/aspirin.extxyz.gz``, ``all-3`` of the fourth
        frame of ``all.xyz``.
    label
        For messages: ``folder/aspirin.xyz``, ``all.xyz@3``.
    """

    atoms: Atoms
    name: str
    label: str


def read_inputs(
    specs: Sequence[str], *, stdin: TextIO | None = None, left_out: Path | None = None
) -> Iterator[Source]:
    """Read structures, each when it is asked for.

    Parameters
    ----------
    specs
        Files, ``FILE@INDEX`` with an index or slice as in ASE, folders (every structure file in
        them, not in their subfolders), ``-`` for extxyz from `stdin`.
    stdin
        What ``-`` reads.
    left_out
        A file that is no input though it lies in one of the folders.

    Returns
    -------
    iterator of Source
        It raises `StructureError` in place of what cannot be read or used, and can then be asked
        for the next.
    """
    return _Sources(specs, stdin, None if left_out is None else left_out.resolve())


class _Sources(Iterator[Source]):
    """An iterator and no generator: a generator ends with its first error."""

    def __init__(self, specs: Sequence[str], stdin: TextIO | None, left_out: Path | None) -> None:
        self._specs = deque(specs)
        self._stdin, self._left_out = stdin, left_out
        self._files: deque[tuple[Path, int | slice | None]] = deque()
        self._current: Iterator[Source] = iter(())

    def __next__(self) -> Source:
        while True:
            for source in self._current:
                check(source.atoms, source.label)
                return source
            if self._files:
                self._current = _sources(*self._files.popleft())
            elif self._specs:
                self._open(self._specs.popleft())
            else:
                raise StopIteration

    def _open(self, spec: str) -> None:
        if spec == "-":
            frames = zip(itertools.count(), read_text(self._stdin, "stdin"), strict=False)
            self._current = _named(frames, "stdin", "stdin", picked=False)
        else:
            self._files.extend(_files(spec, self._left_out))


def _files(spec: str, left_out: Path | None) -> list[tuple[Path, int | slice | None]]:
    """Find the files, and which of their frames, that an input means."""
    if not spec:
        raise StructureError("an INPUT is empty; give a file, a folder, or '.' for this one")
    path = Path(spec)
    if path.is_dir():
        own = left_out.name if left_out and path.resolve() == left_out.parent else None
        files = sorted(f for f in path.iterdir() if is_structure_file(f) and f.name != own)
        if not files:
            raise StructureError(f"{spec}: is a folder without structure files ({READABLE})")
        return [(file, None) for file in files]
    name, at, index = spec.rpartition("@")
    if path.exists() or not at or "/" in index:
        return [(path, None)]
    return [(Path(name), _parse_index(spec, index))]


def _parse_index(spec: str, text: str) -> int | slice:
    try:
        numbers = [int(part) if part else None for part in text.split(":")]
        if len(numbers) == 1 and numbers[0] is not None:
            return numbers[0]
        if len(numbers) in (2, 3) and numbers[2:] != [0]:
            return slice(*numbers)
    except ValueError:
        pass
    raise StructureError(
        f"{spec}: '{text}' picks no frames; use an index or slice, like @3, @-1 or @::10"
    )


def _sources(path: Path, index: int | slice | None) -> Iterator[Source]:
    if isinstance(index, int):
        frames = read_frames(path, slice(index, index + 1 or None))
        atoms = next(frames, None)
        if atoms is None:
            raise StructureError(f"{path}@{index}: there is no such frame in the file")
        return iter([Source(atoms, stem(path), f"{path}@{index}")])
    numbered = _numbered(path, _ALL if index is None else index)
    return _named(numbered, stem(path), str(path), picked=index is not None)


def _numbered(path: Path, which: slice) -> Iterator[tuple[int, Atoms]]:
    """Read frames with their numbers in the file."""
    start, step = which.start or 0, which.step or 1
    if min(start, which.stop or 0, step) >= 0:
        yield from zip(itertools.count(start, step), read_frames(path, which), strict=False)
        return
    frames = list(read_frames(path, _ALL))  # numbers from the end need the whole file
    for number in range(len(frames))[which]:
        yield number, frames[number]


def _named(
    frames: Iterator[tuple[int, Atoms]], name: str, label: str, *, picked: bool
) -> Iterator[Source]:
    """Name frames; only one that is alone in its file goes without its number."""
    first = list(itertools.islice(frames, 2))
    if not first:
        raise StructureError(f"{label}: holds no structure" + (" in that slice" if picked else ""))
    alone = len(first) == 1
    for number, atoms in itertools.chain(first, frames):
        yield Source(
            atoms,
            name if alone else f"{name}-{number}",
            label if alone and not picked else f"{label}@{number}",
        )
